"""For every policy: a real run's decisions are those that the pure policy makes on what it saw."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from decisions_drive import (
    EVERY_POLICY,
    LATENCY,
    RUNS,
    SILENT,
    SIMULATED_ONLY,
    WEIGHED,
    crowded,
    families,
    run_of,
    unhurried,
)

from builders import FlatLatency, make_plan
from streamtwin.core.asked_again import FAMILIES
from streamtwin.core.decision_log import Difference, first_difference, replayed
from streamtwin.core.library import clip_path
from streamtwin.core.log_checks import check_whole, scenario_of
from streamtwin.core.plan import Plan
from streamtwin.core.policies.batching import PREDICTS
from streamtwin.core.policies.rebalance import REBALANCE
from streamtwin.core.policies.router import ROUTER
from streamtwin.core.records import SERVICES, Decision, Records
from streamtwin.reports.decision_words import in_a_line
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.simulate import simulate

DRIVEN = [(family, policy) for family, policy in EVERY_POLICY if family != SIMULATED_ONLY]
TIMED = {("rebalance", name) for name in REBALANCE} | {("batching", name) for name in PREDICTS}
"""Policies that see seconds that services took, which two executors never have alike."""

Twins = tuple[Records, Records]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


@pytest.fixture(scope="module")
def twins(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Twins]:
    """A real run and the simulated one of a plan; of each plan one, however many tests look at it."""
    folder = tmp_path_factory.mktemp("runs")

    @cache
    def run(make: Callable[[int], Plan], number: int) -> Twins:
        plan = make(number)
        virtual = simulate(plan, LATENCY, motion_trace(clip, plan))
        return real_run(plan, clip, folder, patient=make is unhurried), virtual

    return run


def real_run(plan: Plan, clip: Clip, folder: Path, *, patient: bool) -> Records:
    """A real run; where it must be *patient* another one if the host stood still for too long."""
    for _ in range(4):
        records = run_pipeline(plan, clip, folder / "out.mp4").records
        if not (patient and hurried(records)):
            break
    return records


def hurried(records: Records) -> bool:
    """Whether some service was still under way when the next chunk came: what is seen then differs."""
    services = [span for span in records.spans if span.kind in SERVICES]
    return any(
        span.began_s < chunk.released_s < span.ended_s
        for chunk in records.chunks
        for span in services
    )


def told(difference: Difference | None) -> str:
    """So that a failure says what each saw."""
    return "" if difference is None else in_a_line(difference)


def own(records: Records, family: str) -> list[Decision]:
    return [decision for decision in records.decisions if decision.family == family]


def test_every_family_of_policies_can_be_asked_again() -> None:
    known = families()
    assert sorted(FAMILIES) == sorted(known) == sorted(WEIGHED)
    for family, policies in known.items():
        assert FAMILIES[family].policies is policies
    assert len(EVERY_POLICY) >= 33


@pytest.mark.parametrize(("family", "policy"), DRIVEN)
def test_asked_again_every_policy_chooses_what_it_chose_in_the_pipeline(
    family: str, policy: str, twins: Callable[..., Twins]
) -> None:
    for records in twins(crowded, run_of(family, policy)):
        if family == "sink" and records.info.source == "simulated":
            continue  # what sinks are like stands in tensors
        log = own(records, family)
        assert {decision.policy for decision in log} <= {policy}
        assert bool(log) == ((family, policy) not in SILENT)
        assert not log or WEIGHED[family](log)
        check_whole(records)
        assert told(replayed(scenario_of(records), records.decisions)) == ""


@pytest.mark.parametrize("policy", ROUTER)
def test_asked_again_every_router_chooses_what_it_chose(policy: str) -> None:
    visits = [{"join_s": 0.2 * i, "chunks": 4 + 9 * (i % 2)} for i in range(7)]
    plan = make_plan(
        gpus=2, replicas=3, router=policy, sessions=7, visits=visits, source_fps=20, chunks=9
    )
    records = simulate_deployment(plan, FlatLatency(block_s=0.012))
    log = own(records, "router")
    assert {decision.policy for decision in log} == {policy}
    assert WEIGHED["router"](log)
    check_whole(records)
    assert told(replayed(scenario_of(records), records.decisions)) == ""


@pytest.mark.parametrize(
    ("family", "policy"), [each for each in DRIVEN if each[0] not in ("rebalance", "sink")]
)
def test_where_time_is_to_spare_both_executors_log_the_same(
    family: str, policy: str, twins: Callable[..., Twins]
) -> None:
    """Chunks come at the same instants, so both see the same: then the logs must be the same."""
    real, virtual = twins(unhurried, run_of(family, policy))
    logs = [own(records, family) for records in (virtual, real)]
    assert bool(logs[0]) == ((family, policy) not in SILENT)
    seconds = (family, policy) not in TIMED
    assert told(first_difference(*logs, seconds=seconds)) == ""


def test_blocks_that_move_by_a_schedule_move_alike(twins: Callable[..., Twins]) -> None:
    runs = [
        twins(unhurried, number)
        for number in range(RUNS)
        if unhurried(number).scenario.deployment.partition.schedule
    ]
    assert runs
    for real, virtual in runs:
        logs = [own(records, "rebalance") for records in (virtual, real)]
        assert logs[0]
        assert told(first_difference(*logs)) == ""
