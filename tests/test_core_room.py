"""Blocks move only where memory has room for them, during the move too."""

from dataclasses import replace

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.errors import ScenarioError
from streamtwin.core.memory import check_memory, rank_memory, with_room
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.sim.simulate import simulate

WIDE = {"model": "wan2.1-1.3b", "vae": "wan2.1", "resolution": [480, 832], "chunks": 150}
ASKED = {"policy": "optimal", "blocks": [10, 10, 10], "rebalance": "continuous"}


def need_bytes(plan: Plan, rank: int, count: int) -> int:
    return sum(rank_memory(plan, replace(plan.stages[rank], blocks=range(count))).values())


def throttled(**partition: object) -> Plan:
    return make_plan(**WIDE, gpus=3, slowdown={1: 3.0}, partition={**ASKED, **partition})


def test_room_is_what_fits_and_one_more_does_not() -> None:
    plan = throttled()
    capacity = need_bytes(plan, 2, 12) + 1000
    roomy = with_room(plan, capacity)
    for rank, most in enumerate(roomy.room):
        assert need_bytes(plan, rank, most) <= capacity < need_bytes(plan, rank, most + 1)
    assert with_room(plan, 0).room == (10, 10, 10)
    still = make_plan(**WIDE, gpus=3)
    assert with_room(still, capacity).room == ()


@pytest.mark.parametrize(
    ("policy", "spare", "expected"),
    [
        ("optimal", 99, [13, 5, 12]),
        ("optimal", 2, [12, 6, 12]),
        ("greedy", 2, [12, 6, 12]),
        ("optimal", 0, None),
    ],
)
def test_a_slow_rank_is_relieved_as_far_as_the_others_have_room(
    policy: str, spare: int, expected: list | None
) -> None:
    plan = replace(throttled(policy=policy), room=(10 + spare,) * 3)
    moves = compute_metrics(simulate(plan, FlatLatency()))["moves"]
    assert [move["blocks"] for move in moves] == ([expected] if expected else [])


def test_a_decision_is_written_with_the_room_it_saw() -> None:
    plan = replace(throttled(), room=(11, 12, 13))
    records = simulate(plan, FlatLatency())
    decisions = [d for d in records.decisions if d.family == "rebalance"]
    assert decisions
    assert [decisions[0].saw[f"room.{rank}"] for rank in range(3)] == [11, 12, 13]


def test_a_schedule_is_refused_where_a_rank_would_hold_too_much_in_between() -> None:
    """[10, 20] to [20, 10]: rank 1 gets nothing, rank 0 gets ten and gives none."""
    plan = make_plan(**WIDE, gpus=2, partition={"blocks": [10, 20], "schedule": {9: [20, 10]}})
    fullest = max(need_bytes(plan, 0, 20), need_bytes(plan, 1, 20))
    check_memory(plan, fullest, "cpu")
    with pytest.raises(ScenarioError, match=r"rank \d needs"):
        check_memory(plan, need_bytes(plan, 0, 20) - 1, "cpu")
    # the middle one gives 12 of 14 blocks and gets 12 others before those have been taken
    through = {"blocks": [2, 14, 14], "schedule": {9: [14, 14, 2]}}
    plan = make_plan(**WIDE, gpus=3, partition=through)
    check_memory(plan, need_bytes(plan, 1, 26), "cpu")
    with pytest.raises(ScenarioError, match=r"rank \d needs"):
        check_memory(plan, need_bytes(plan, 1, 26) - 1, "cpu")
