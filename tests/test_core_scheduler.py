"""The block scheduler: when it looks, what it measures, and when it holds still."""

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core.moves import Tenants, block_bytes
from streamtwin.core.plan import Plan
from streamtwin.core.policies.partition import StageCosts, optimal
from streamtwin.core.policies.rebalance import RebalanceView
from streamtwin.core.records import Decision
from streamtwin.core.ring import Item, Row
from streamtwin.core.scheduler import Scheduler
from streamtwin.core.slip import Meter, RankTimes

BLOCKS = 30
MODEL = {"model": "wan2.1-1.3b", "vae": "wan2.1", "chunks": 3}


def item_of(index: int, plan: Plan) -> Item:
    return Item(index, tuple(Row(0, 9 + index, 9 + index, step) for step in range(plan.max_rows)))


class Ranks:
    """Ranks of given paces, whose times come back as many items late as in a ring."""

    def __init__(
        self, plan: Plan, block_s: list, fixed_s: list, noise: float = 0.0, hop_s: float = 1e-3
    ) -> None:
        self.plan, self.block_s, self.fixed_s = plan, block_s, fixed_s
        self.noise, self.hop_s = noise, hop_s
        self.decisions: list[Decision] = []
        self.scheduler = Scheduler(plan, self.decisions.append)
        self.random = random.Random(1)
        self.now_s, self.under_way = 0.0, deque()

    def run(self, first: int, last: int) -> None:
        for index in range(first, last):
            counts, item = self.scheduler.counts, item_of(index, self.plan)
            times = tuple(
                RankTimes(count * block * self.jitter(), fixed * self.jitter(), self.hop_s)
                for count, block, fixed in zip(counts, self.block_s, self.fixed_s, strict=True)
            )
            self.scheduler.behind(item, self.now_s)
            self.now_s += max(t.dit_s + t.vae_s + t.hop_s for t in times)
            self.under_way.append((item, times))
            if len(self.under_way) >= self.plan.ranks:
                self.scheduler.observe(*self.under_way.popleft())

    def jitter(self) -> float:
        return self.random.uniform(1 - self.noise, 1 + self.noise)

    def stage_s(self, counts: tuple) -> float:
        own = zip(counts, self.block_s, self.fixed_s, strict=True)
        return max(count * block + fixed for count, block, fixed in own)

    @property
    def moves(self) -> list[Decision]:
        held, made = "/".join(str(len(stage.blocks)) for stage in self.plan.stages), []
        for decision in self.decisions:
            if decision.chose != held:
                held = decision.chose
                made.append(decision)
        return made


def continuous(gpus: int, policy: str = "optimal", **partition) -> Plan:
    blocks = [BLOCKS // gpus] * gpus
    blocks[0] += BLOCKS - sum(blocks)
    asked = {"policy": policy, "blocks": blocks, "rebalance": "continuous", **partition}
    return make_plan(**MODEL, gpus=gpus, partition=asked)


paces = st.integers(2, 5).flatmap(
    lambda ranks: st.tuples(
        st.lists(st.floats(0.001, 0.008), min_size=ranks, max_size=ranks),
        st.lists(st.floats(0.0, 0.04), min_size=ranks, max_size=ranks),
    )
)


@given(paces)
@settings(deadline=None, max_examples=40)
def test_constant_paces_end_within_a_block_of_the_optimum(times: tuple[list, list]) -> None:
    block_s, fixed_s = times
    # moving costs nothing here: whether a move pays is another test's
    ranks = Ranks(continuous(len(block_s)), block_s, fixed_s, hop_s=1e-9)
    ranks.run(0, 200)
    costs = StageCosts((1.0,) * BLOCKS, tuple(fixed_s), tuple(block_s))
    best = tuple(len(part) for part in optimal(costs))
    best_s, found_s = costs.largest_s(best), costs.largest_s(ranks.scheduler.counts)
    within_margin = found_s * (1 - 0.05) <= best_s + 1e-9
    assert within_margin or found_s <= best_s + max(block_s)
    assert len(ranks.moves) <= 2


@given(paces, st.sampled_from(["optimal", "greedy"]))
@settings(deadline=None, max_examples=25)
def test_scatter_makes_few_moves(times: tuple[list, list], policy: str) -> None:
    block_s, fixed_s = times
    ranks = Ranks(continuous(len(block_s), policy), block_s, fixed_s, noise=0.1, hop_s=1e-9)
    ranks.run(0, 1200)
    horizons = 1 + int(ranks.now_s / 30)
    # a median of times within 10 % promises at most 1 - 0.9 / 1.1 = 18 %: three margins of 5 %
    assert len(ranks.moves) <= 2 + 4 * horizons
    assert len(ranks.moves) < len(ranks.decisions) / 4


def test_a_rank_that_becomes_slow_gives_blocks_up_and_takes_them_back() -> None:
    ranks = Ranks(continuous(3), [0.002] * 3, [0.0] * 3)
    ranks.run(0, 100)
    assert ranks.scheduler.counts == (10, 10, 10)
    ranks.block_s = [0.002, 0.008, 0.002]
    ranks.run(100, 200)
    assert ranks.scheduler.counts == (13, 4, 13) or ranks.stage_s(ranks.scheduler.counts) < 0.030
    assert ranks.scheduler.counts[1] < 6
    ranks.block_s = [0.002] * 3
    ranks.run(200, 400)
    assert ranks.stage_s(ranks.scheduler.counts) <= 0.022 + 1e-9


def test_a_move_that_costs_more_than_it_saves_is_not_made() -> None:
    for horizon_s, moves in ((0.05, 0), (30.0, 1)):
        ranks = Ranks(continuous(2, horizon_s=horizon_s), [0.002, 0.004], [0.0, 0.0])
        ranks.run(0, 200)
        assert ranks.decisions
        assert ranks.decisions[0].saw["move_s"] > 0.005
        assert len(ranks.moves) == moves


def test_sdv2_moves_once_and_behind_the_item_of_the_reference() -> None:
    plan = make_plan(**MODEL, gpus=2, steps=2, partition={"policy": "sdv2_once"})
    ranks = Ranks(plan, [0.001] * 2, [0.020, 0.035])
    ranks.run(0, 100)
    (decision,) = ranks.decisions
    assert decision.chunk == 2 * (2 + 2 + 1) + 2  # behind the turns of the first chunk
    assert (decision.policy, decision.chose) == ("sdv2_once", "22/8")


def test_only_one_move_is_under_way() -> None:
    schedule = {5: [1, 1, 28], 6: [28, 1, 1], 7: [10, 10, 10]}
    plan = make_plan(**MODEL, gpus=3, partition={"schedule": schedule})
    ranks = Ranks(plan, [0.001] * 3, [0.0] * 3)
    ranks.run(0, 30)
    # item 5 comes back when item 7 has been sent
    assert [(d.chunk, d.chose) for d in ranks.decisions] == [
        (5, "1/1/28"),
        (8, "28/1/1"),
        (11, "10/10/10"),
    ]


@pytest.mark.parametrize(("fixed_s", "pace_s"), [(0.0, 0.002), (0.003, 0.002), (0.008, 0.004)])
def test_what_a_pass_costs_without_blocks_shows_once_counts_have_differed(
    fixed_s: float, pace_s: float
) -> None:
    plan = continuous(2)
    measured = Scheduler(plan, lambda _: None).measured
    for counts, start in (((15, 15), 0), ((10, 20), 100)):
        if start:
            measured.moved(counts, start)
        for index in range(start + 1, start + 9):
            times = tuple(RankTimes(fixed_s + count * pace_s, 0.0, 0.001) for count in counts)
            measured.add(item_of(index, plan), times, 1e-6)
        view = measured.view(0, 0)
        expected = fixed_s if start else 0.0
        assert view.fixed_s == pytest.approx((expected, expected), abs=1e-12)


def test_items_from_before_a_move_do_not_count_behind_it() -> None:
    ranks = Ranks(continuous(2), [0.002, 0.006], [0.0, 0.0])
    ranks.run(0, 60)
    first = ranks.moves[0]
    following = ranks.decisions[ranks.decisions.index(first) + 1]
    # 8 items behind the move must have come back, one item late
    assert following.chunk >= first.chunk + 8 + 1
    view = RebalanceView.seen(following.saw)
    expected = [count * pace for count, pace in zip(view.blocks, (0.002, 0.006), strict=True)]
    assert view.dit_s == pytest.approx(expected)


def test_without_a_stream_batch_a_service_counts_as_often_as_it_occurs() -> None:
    asked = {"policy": "optimal", "blocks": [3, 3], "rebalance": "continuous"}
    plan = make_plan(gpus=2, steps=2, stream_batch=False, partition=asked)
    measured = Scheduler(plan, lambda _: None).measured
    for index in range(1, 40):
        encodes = index % 4 in (0, 1)
        times = (RankTimes(0.01, 0.02 * encodes, 0.001), RankTimes(0.01, 0.0, 0.001))
        measured.add(item_of(index, plan), times, 1e-6)
        if measured.enough:
            assert measured.view(0, 0).vae_s == pytest.approx((0.01, 0.0))


def test_a_meter_counts_from_reading_to_reading() -> None:
    meter = Meter()
    for kind, seconds in (("encode", 1.0), ("encode", 2.0), ("dit", 4.0), ("wait_hop", 9.0)):
        meter.note(kind, seconds)  # type: ignore[arg-type]
    assert meter.read() == RankTimes(4.0, 3.0, 0.0)
    meter.note("hop", 0.5)
    meter.note("decode", 0.25)
    assert meter.read() == RankTimes(0.0, 0.25, 0.5)


def test_a_block_moves_with_the_sessions_and_prompts_that_are_there() -> None:
    visits = [{"prompts": {0: "a", 3: "b", 4: "a"}}, {"join_s": 5.0}]
    plan = make_plan(steps=2, sessions=2, visits=visits)
    tenants = Tenants(plan)

    def behind(*rows: tuple[int, int, int], leaving: tuple[int, ...] = ()) -> int:
        """Bytes behind an item of rows (session, chunk, step)."""
        full = tuple(Row(session, chunk, chunk, step) for session, chunk, step in rows)
        tenants.follow(Item(0, full, leaving))
        return tenants.block_bytes()

    assert tenants.block_bytes() == block_bytes(plan, 1, 1)
    assert behind((0, 2, 0)) == block_bytes(plan, 1, 1)
    assert behind((0, 3, 0), (0, 2, 1)) == block_bytes(plan, 1, 2)
    # chunk 3 is done under b; chunk 4 needs a again
    assert behind((0, 4, 0), (0, 3, 1)) == block_bytes(plan, 1, 2)
    assert behind((0, 4, 1)) == block_bytes(plan, 1, 1)
    assert behind((1, 0, 0)) == block_bytes(plan, 2, 2)
    assert behind((0, 5, 1), leaving=(0,)) == block_bytes(plan, 1, 1)
