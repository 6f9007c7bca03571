"""Rebalancing: which partition a policy proposes, and when it is worth a move."""

from dataclasses import replace
from operator import add, le

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamtwin.core.policies.partition import (
    StageCosts,
    greedy,
    intervals,
    optimal,
    reference_rule,
)
from streamtwin.core.policies.rebalance import (
    REBALANCE,
    Hysteresis,
    RebalanceView,
    decide,
    moving_s,
    worth_moving,
)

ASKED = Hysteresis(horizon_s=30.0, factor=2.0, margin=0.05)


@pytest.mark.parametrize(
    ("counts", "dit_ms", "encode_ms", "decode_ms", "expected"),
    [
        # worked by hand from the reference's rule: 30 blocks of 1 ms, e = 20 ms, v = 35 ms
        ((15, 15), (15, 15), 20, 35, (22, 8)),
        ((8, 8, 7, 7), (8, 8, 7, 7), 20, 35, (1, 14, 14, 1)),
        # 40 blocks of 2.5 ms
        ((10,) * 4, (25,) * 4, 20, 35, (8, 15, 15, 2)),
    ],
)
def test_the_reference_rule_on_its_worked_examples(
    counts: tuple, dit_ms: tuple, encode_ms: int, decode_ms: int, expected: tuple
) -> None:
    total = list(dit_ms)
    total[0] += encode_ms
    total[-1] += decode_ms
    assert reference_rule(counts, dit_ms, total) == expected


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.sampled_from([0, 1]), st.data())
def test_the_reference_rule_keeps_every_block_and_its_least(counts: list, least: int, data) -> None:
    times = st.lists(st.floats(0.001, 1), min_size=len(counts), max_size=len(counts))
    dit, besides = data.draw(times), data.draw(times)
    total = [d + b for d, b in zip(dit, besides, strict=True)]
    found = reference_rule(counts, dit, total, least)
    assert sum(found) == sum(counts)
    assert min(found) >= least


def test_the_published_counts_follow_from_the_published_stage_times_without_a_least() -> None:
    """arXiv 2511.07399v1, block-scheduler figure: 8/8/7/7 blocks become 4/13/13/0."""
    dit_ms = (41.95, 41.95, 36.9, 36.9)
    total_ms = (41.95 + 49.98, 41.95, 36.9, 36.9 + 86.14)
    assert reference_rule((8, 8, 7, 7), dit_ms, total_ms, 0) == (4, 13, 13, 0)
    assert reference_rule((8, 8, 7, 7), dit_ms, total_ms, 1)[3] == 1


def test_the_least_is_part_of_what_the_rule_saw() -> None:
    ranks = (1.0,) * 4
    view = RebalanceView(
        (8, 8, 7, 7), ranks, ranks, ranks, ranks,
        least_dit_s=(0.04, 0.04, 0.037, 0.037), least_s=(0.092, 0.04, 0.037, 0.123),
        move_s=0.1, least=0,
    )  # fmt: skip
    assert RebalanceView.seen(view.saw()) == view
    assert decide("sdv2_once", view, None)[3] == 0


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.data())
def test_greedy_never_slows_the_slowest_down(held: list, data) -> None:
    per_rank = {"min_size": len(held), "max_size": len(held)}
    costs = StageCosts(
        tuple(data.draw(st.lists(st.floats(0.1, 2), min_size=sum(held), max_size=sum(held)))),
        tuple(data.draw(st.lists(st.floats(0, 5), **per_rank))),
        tuple(data.draw(st.lists(st.floats(0.5, 4), **per_rank))),
        tuple(held),
    )
    found = [len(part) for part in greedy(costs)]
    assert costs.largest_s(found) <= costs.largest_s(held)
    assert costs.largest_s([len(part) for part in optimal(costs)]) <= costs.largest_s(found)


def test_greedy_takes_from_a_slow_rank_until_its_neighbours_are_as_slow() -> None:
    costs = StageCosts((1.0,) * 12, (0.0,) * 3, slower=(1.0, 4.0, 1.0), held=(4, 4, 4))
    assert [len(part) for part in greedy(costs)] == [5, 1, 6]


@st.composite
def views(draw) -> RebalanceView:
    ranks = draw(st.integers(2, 5))
    per_rank = st.lists(st.floats(0.001, 1), min_size=ranks, max_size=ranks).map(tuple)
    blocks = draw(st.lists(st.integers(1, 9), min_size=ranks, max_size=ranks).map(tuple))
    dit_s, vae_s = draw(per_rank), draw(per_rank)
    fixed_s = tuple(0.25 * dit for dit in dit_s)
    least_s = tuple(0.5 * (dit + vae) for dit, vae in zip(dit_s, vae_s, strict=True))
    least_dit_s = tuple(0.5 * dit for dit in dit_s)
    hop_s, move_s = draw(per_rank), draw(st.floats(0, 10))
    about = move_s, draw(st.integers(0, 4)), draw(rooms(blocks))
    return RebalanceView(blocks, dit_s, fixed_s, vae_s, hop_s, least_dit_s, least_s, *about)


def rooms(blocks: tuple) -> st.SearchStrategy:
    """No limit, or room for what is held and a few blocks more."""
    spare = st.lists(st.integers(0, 12), min_size=len(blocks), max_size=len(blocks))
    limits = spare.map(lambda more: tuple(map(add, blocks, more)))
    return st.one_of(st.just(()), limits)


@pytest.mark.parametrize("name", REBALANCE)
@given(views())
def test_every_rebalancing_keeps_the_blocks(name: str, view: RebalanceView) -> None:
    assert REBALANCE[name].__doc__
    found = REBALANCE[name](view)
    assert (len(found), sum(found)) == (len(view.blocks), sum(view.blocks))
    assert min(found) >= 1


@pytest.mark.parametrize("name", REBALANCE)
@pytest.mark.parametrize("asked", [None, ASKED])
@given(view=views())
def test_no_rank_ever_holds_more_than_it_has_room_for(
    name: str, asked: Hysteresis | None, view: RebalanceView
) -> None:
    """Neither behind a move nor during it, when a rank has both what it gives and what it gets."""
    found = decide(name, view, asked)
    assert sum(found) == sum(view.blocks)
    before, after = intervals(view.blocks), intervals(found)
    for rank, most in enumerate(view.room):
        assert found[rank] <= most
        if found != view.blocks:
            assert len(set(before[rank]) | set(after[rank])) <= most


@given(views())
def test_room_is_kept_within_before_a_proposal_has_to_be_refused(view: RebalanceView) -> None:
    for name in ("optimal", "greedy"):
        proposed = REBALANCE[name](view)
        assert all(map(le, proposed, view.room or proposed))
    best = REBALANCE["optimal"](replace(view, room=()))
    if all(map(le, best, view.room)):
        assert REBALANCE["optimal"](view) == best


@given(views())
def test_a_view_survives_its_record(view: RebalanceView) -> None:
    assert RebalanceView.seen(view.saw()) == view


@given(views())
def test_a_move_is_made_only_when_it_pays(view: RebalanceView) -> None:
    best = REBALANCE["optimal"](view)
    chosen = worth_moving(view, best, ASKED)
    assert chosen in (best, view.blocks)
    share = 1 - view.costs().largest_s(best) / view.costs().largest_s(view.blocks)
    if chosen != view.blocks:
        assert share > ASKED.margin * (1 + view.moves)
        assert share * ASKED.horizon_s > ASKED.factor * moving_s(view, best)
    if share <= ASKED.margin or share * ASKED.horizon_s < moving_s(view, best):
        assert chosen == view.blocks


@given(views())
def test_the_same_view_gets_the_same_answer(view: RebalanceView) -> None:
    assume(view.move_s > 0)
    for policy in REBALANCE.values():
        assert policy(view) == policy(RebalanceView.seen(view.saw()))
