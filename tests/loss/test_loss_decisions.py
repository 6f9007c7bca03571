"""What was decided before and behind a death follows from what was seen, as at any other time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import STATES, dying, shapes

from builders import FlatLatency, latencies, make_plan
from streamtwin.core.decision_log import replayed, seen_in_full
from streamtwin.core.log_checks import check_whole, scenario_of
from streamtwin.core.plan import Plan
from streamtwin.sim.replicas import simulate_deployment

COSTS = {"detect_s": 0.1, "start_s": 0.5, "load_bytes_per_s": 1e8}
MOVING = {
    "conditioning": {"noise": "motion_window", "rope_refresh": "reset"},
    "gpus": 2, "steps": 2, "source_fps": 16.0, "chunks": 40, "sessions": 3, "dispatch": "earliest_deadline",
}  # fmt: skip


# much motion, so that the rate of a session's first chunk is another than its policy's
MOTION = [(0.3,) * 5, *[(0.3,) * 4] * 60]


def check(plan: Plan, latency: FlatLatency) -> None:
    records = simulate_deployment(plan, latency, MOTION)
    check_whole(records)
    difference = replayed(scenario_of(records), records.decisions)
    assert difference is None, difference


@settings(max_examples=60)
@given(shapes(), latencies(), STATES, st.floats(0.0, 3.0), st.sampled_from([{}, COSTS]))
def test_every_policy_chooses_again_what_it_chose(
    shape: dict[str, Any], latency: FlatLatency, state: str, at_s: float, costs: dict[str, Any]
) -> None:
    moved = {**shape, "conditioning": MOVING["conditioning"]}
    check(dying(moved, at_s=at_s, state=state, **costs), latency)


@pytest.mark.parametrize("at_s", [0.27, 0.5, 1.6, 2.3])
def test_what_is_done_again_is_mixed_as_it_was(at_s: float) -> None:
    """Rates follow from all frames before, so a session goes on as if nobody had died."""
    motion = [(0.1 + 0.01 * chunk,) * (5 if chunk == 0 else 4) for chunk in range(60)]
    shape = {**MOVING, "sessions": 1}
    found = []
    for plan in (dying(shape, rank=1, at_s=at_s, state="restored", **COSTS), make_plan(**shape)):
        records = simulate_deployment(plan, FlatLatency(), motion)
        noise = [(d.chunk, d.chose) for d in records.decisions if d.family == "noise"]
        found.append(sorted(noise))
    assert found[0] == found[1]


@pytest.mark.parametrize("state", ["lost", "restored"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"replicas": 2, "rank": 3},
        {"admission": "keep_newest", "max_waiting": 1},
        {"entry": {"policy": "memory", "room": 2, "max_queued": 2}},
        {"lanes": "sessions", "batching": {"batch": 3}},
    ],
    ids=str,
)
def test_features_that_decide_meet_a_death(state: str, changes: dict[str, Any]) -> None:
    changes = {"rank": 1, **changes}
    death = {"rank": changes.pop("rank"), "at_s": 2.0, "state": state, **COSTS}
    check(dying({**MOVING, **changes}, **death), FlatLatency())


def test_a_line_begins_anew_behind_a_death() -> None:
    """What had waited is told again, and nothing else stands in the line."""
    plan = dying({**MOVING, "dispatch": "fifo"}, rank=1, at_s=2.0, state="restored", **COSTS)
    decisions = simulate_deployment(plan, FlatLatency(decode_s=0.2)).decisions
    behind = [
        i for i, one in enumerate(decisions)
        if one.family == "dispatch" and one.time_s > 2.0 and "anew" in one.saw
    ]  # fmt: skip
    for index in behind:
        saw = seen_in_full(decisions, index)
        assert sum(name.startswith("chunk.") for name in saw) == saw["waiting"]
    assert behind
