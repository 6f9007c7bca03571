"""Where features meet: replicas and moves, drawn sessions and intervals, members and trouble."""

from dataclasses import replace
from typing import Any

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.capacity import sessions_at_once
from streamtwin.core.errors import ScenarioError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.routing import route
from streamtwin.core.scenario_file import parse_scenario
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.screen import screen
from streamtwin.sim.simulate import simulate
from streamtwin.sim.uncertainty import calibration_intervals

WIDE: dict[str, Any] = {"model": "wan2.1-1.3b", "vae": "wan2.1", "resolution": [480, 832]}
MOVES = {"policy": "sdv2_once", "blocks": [20, 10]}


def copies(count: int, sessions: int) -> Plan:
    plan = make_plan(**WIDE, gpus=2, chunks=60, sessions=sessions, partition=MOVES)
    deployment = plan.scenario.deployment.model_copy(update={"replicas": count})
    scenario = plan.scenario.model_copy(update={"deployment": deployment})
    return replace(plan, scenario=scenario)


def test_blocks_move_in_every_copy_by_itself() -> None:
    latency = FlatLatency(encode_s=0.1, decode_s=0.1)
    alone = compute_metrics(simulate(copies(1, 1), latency))
    both = compute_metrics(simulate_deployment(copies(2, 2), latency))
    (move,) = alone["moves"]
    assert [one["blocks"] for one in both["moves"]] == [move["blocks"]] * 2
    assert [one["size_bytes"] for one in both["moves"]] == [move["size_bytes"]] * 2
    held = [rank["blocks"] for rank in alone["ranks"]]
    assert [rank["blocks"] for rank in both["ranks"]] == held * 2
    assert [one["fps"] for one in both["sessions"]] == [alone["fps"]] * 2


def test_blocks_move_in_the_copy_alone_that_looks() -> None:
    """Nobody comes to the second copy, so it has nothing to look at and keeps what it had."""
    found = compute_metrics(
        simulate_deployment(copies(2, 1), FlatLatency(encode_s=0.1, decode_s=0.1))
    )
    (move,) = found["moves"]
    held = [last - first for first, last in (rank["blocks"] for rank in found["ranks"])]
    assert held == [*move["blocks"], *MOVES["blocks"]]


def test_intervals_are_of_the_sessions_that_come() -> None:
    """One session in ten seconds on average: some draws would have none, and the run has its own."""
    text = """
workload: {chunks: 12, source_fps: 4, arrivals: {process: poisson, rate_per_s: 0.2, until_s: 10}}
deployment: {gpus: 1, steps: 1}
"""
    for seed in range(20):
        try:
            scenario = parse_scenario(f"seed: {seed}\n{text}", "mine.yaml")
        except ScenarioError:
            continue
        plan = replace(make_plan(gpus=1, steps=1, chunks=12), scenario=scenario)
        metrics = compute_metrics(simulate_deployment(plan, FlatLatency()))
        found = {"fps": metrics["fps"], "ttff_s": metrics["ttff_s"]}
        low, high = calibration_intervals(plan, FlatLatency(), (), found)["fps"]
        assert low <= metrics["fps"] <= high
        return
    pytest.fail("no seed has a session")


def test_a_rank_beside_a_throttled_one_decodes_at_its_own_pace() -> None:
    trouble = {"slow_cards": [{"rank": 1, "factor": 3.0}]}
    shape = {"gpus": 2, "parallelism": "ulysses", "sequence_ranks": 2, "chunks": 20}

    class Exchanging(FlatLatency):
        def predict(self, op: Any) -> Any:
            from streamtwin.core.ops import Collective, Hop  # noqa: PLC0415

            return super().predict(Hop(8) if isinstance(op, Collective) else op)

    latency = Exchanging()
    spans = simulate(make_plan(**shape, trouble=trouble), latency).spans
    still = simulate(make_plan(**shape), latency).spans
    for kind, factor in (("decode", 1.0), ("encode", 1.0), ("dit", 3.0)):
        slow, own = (
            next(s.seconds for s in reversed(each) if s.kind == kind and s.rank == 0)
            for each in (spans, still)
        )
        assert slow == pytest.approx(factor * own), kind


def test_members_work_at_the_same_time_and_count_once() -> None:
    from streamtwin.core.ops import Collective, Hop  # noqa: PLC0415

    class Exchanging(FlatLatency):
        def predict(self, op: Any) -> Any:
            return super().predict(Hop(8) if isinstance(op, Collective) else op)

    plan = make_plan(gpus=2, parallelism="ulysses", sequence_ranks=2, chunks=40, source_fps=4.0)
    records = simulate(plan, Exchanging())
    passes = [s.seconds for s in records.spans if s.kind == "dit" and s.rank == 0]
    expected = 4 / 4.0 + 0.02 + passes[-1] + 0.03
    assert compute_metrics(records)["ttff_warm_s"] == pytest.approx(expected, rel=0.02)


def test_screening_refuses_what_does_not_fit() -> None:
    plan = replace(make_plan(gpus=2, chunks=20), capacity_bytes=(0.0, 0.0))
    with pytest.raises(ScenarioError, match="do not fit"):
        screen([plan], lambda _: FlatLatency())


@pytest.mark.parametrize("ranks", [3, 4])
def test_screened_windows_are_those_of_the_records(ranks: int) -> None:
    # an input that comes too fast leaves in bursts of several lanes, so a window's end matters
    for chunks in range(60, 96, 5):
        common = {"gpus": ranks, "chunks": chunks, "source_fps": 60.0, "slowdown": {1: 3.0}}
        plan = make_plan(**common, wrap_activations=True)
        (found,) = screen([plan], lambda _: FlatLatency())
        metrics = compute_metrics(simulate(plan, FlatLatency()))
        assert found.figures.fps == pytest.approx(metrics["fps"], rel=1e-9)


CLASSES = """
deployment: {{gpus: 1, replicas: 2, router: {router}}}
workload:
  sessions: 4
  chunks: 20
  visits: [{{}}, {{join_s: 8}}, {{join_s: 9}}, {{join_s: 30}}]
  {own}
"""


def test_a_class_s_own_rate_counts_for_the_router_and_for_memory() -> None:
    for router in ("least_sessions", "fill_first"):
        plain, classes = (
            route(parse_scenario(CLASSES.format(router=router, own=own), "mine.yaml"), (0.6, 0.6))
            for own in ("source_fps: 4", "classes: {a: {share: 1, source_fps: 4}}")
        )
        # the first session lasts 20 s: the second is the second to be open
        assert plain.sessions == classes.sessions == ((0, 2, 3), (1,))
    late = parse_scenario(
        "workload: {sessions: 2, chunks: 20, classes: {a: {share: 1, source_fps: 4}}, "
        "visits: [{}, {join_s: 6}]}",
        "mine.yaml",
    )
    # 20 chunks of 4 frames at 4 frames/s last 20 s
    assert sessions_at_once(late) == 2
