"""Blocks that move in the simulator: nothing stops, nothing is lost, and it takes its time."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.bubbles import rank_times
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import Prediction
from streamtwin.core.memory import rank_memory
from streamtwin.core.metrics import compute_metrics, steady_window
from streamtwin.core.moves import block_bytes, moves_between
from streamtwin.core.ops import DitPass, Hop, Migration, Op
from streamtwin.core.plan import Plan
from streamtwin.core.policies.partition import intervals
from streamtwin.core.records import Records
from streamtwin.core.ring import Item
from streamtwin.core.scheduler import first_look
from streamtwin.core.stages import of_every_rank
from streamtwin.sim.simulate import simulate
from streamtwin.sim.station import Station

BLOCKS = 30
WIDE = {"model": "wan2.1-1.3b", "vae": "wan2.1", "resolution": [64, 96]}


class PerByte(FlatLatency):
    """A hop takes as long as its bytes at 1 GB/s, from a millisecond up."""

    def predict(self, op: Op) -> Prediction:
        if isinstance(op, Hop):
            mean_s = max(1e-3, op.size_bytes / 1e9)
            return Prediction(mean_s, mean_s, mean_s, self.provenance)
        return super().predict(op)


@st.composite
def planned(draw, protocols: bool = True) -> Plan:
    """A plan of up to 8 ranks with a few partitions at near items, as different as can be."""
    layout, vae = draw(layouts()) if protocols else {}, 0
    if layout.get("vae_placement") == "dedicated":
        vae = 2
    gpus = draw(st.integers(2 + vae, 8 + vae))
    inner = gpus - vae - 1
    cuts = st.lists(st.integers(1, BLOCKS - 1), min_size=inner, max_size=inner, unique=True).map(
        sorted
    )
    schedule = {}
    for item in draw(st.lists(st.integers(0, 30), max_size=4, unique=True)):
        edges = [0, *draw(cuts), BLOCKS]
        schedule[item] = [b - a for a, b in pairwise(edges)]
    return make_plan(
        **WIDE,
        gpus=gpus,
        steps=draw(st.integers(1, 3)),
        stream_batch=draw(st.booleans()),
        sessions=draw(st.integers(1, 2)),
        lanes=draw(st.sampled_from(["time", "sessions"])),
        source_fps=draw(st.sampled_from([None, 20.0])),
        chunks=draw(st.integers(6, 20)),
        partition={"schedule": schedule},
        **layout,
    )


def layouts() -> st.SearchStrategy:
    """How ranks receive, when the last decodes, and whether the VAE has ranks of its own."""
    protocol = {"protocol": st.sampled_from(["sdv2", "overlap"])}
    decode = st.sampled_from(["after_send", "before_send"])
    own = {"vae_placement": st.just("dedicated")}
    return st.one_of(
        st.fixed_dictionaries(protocol | {"decode": decode}),
        st.fixed_dictionaries(protocol | own),
    )


def held_behind(plan: Plan, records: Records) -> dict[int, tuple[range, ...]]:
    """Which blocks each rank holds, by the first item for which they hold."""
    held = {0: tuple(stage.blocks for stage in plan.stages)}
    for decision in records.decisions:
        if decision.family == "rebalance":
            counts = [int(count) for count in str(decision.chose).split("/")]
            held[decision.chunk + 1] = intervals(counts)
    return held


@given(planned(), st.floats(0.0001, 0.1))
@settings(deadline=None, max_examples=60)
def test_every_item_meets_every_block_once_and_nothing_stops(plan: Plan, block_s: float) -> None:
    latency = FlatLatency(block_s=block_s)
    records = simulate(plan, latency)
    assert {c.outcome for c in records.chunks} == {"emitted"}
    held = held_behind(plan, records)
    dits = [s for s in records.spans if s.kind == "dit"]
    assert dits
    for span in dits:
        behind = max(first for first in held if first <= span.item)
        blocks = held[behind][span.rank]
        assert span.seconds == pytest.approx(block_s * len(blocks))
    planned_counts = sorted(plan.scenario.deployment.partition.schedule.items())
    made = [d.chose for d in records.decisions if d.family == "rebalance"]
    deployment = plan.scenario.deployment
    asked = [of_every_rank(counts, deployment) for _, counts in planned_counts]
    assert made == ["/".join(map(str, counts)) for counts in asked][: len(made)]


@given(planned(protocols=False))
@settings(deadline=None, max_examples=60)
def test_nothing_stops_where_a_pass_ends_only_when_all_that_was_sent_is_taken(plan: Plan) -> None:
    """So would a host do that waited for the whole of its card, messages under way included."""
    forward = Station.forward

    def waits(station: Station, item: Item):
        yield from forward(station, item)
        for parcel in [parcel for posted in station._sent.values() for parcel in posted]:
            yield parcel.taken
        yield from station.exchange.wait_taken()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Station, "forward", waits)
        records = simulate(plan, FlatLatency())
    assert {c.outcome for c in records.chunks} == {"emitted"}


def test_a_move_takes_its_bytes_over_the_link() -> None:
    plan = make_plan(gpus=3, chunks=24, partition={"schedule": {10: [3, 2, 1], 20: [1, 1, 4]}})
    records = simulate(plan, PerByte())
    one = block_bytes(plan, 1, 1)
    got = {(s.item, s.rank): s for s in records.spans if s.kind == "move" and s.size_bytes}
    # [2, 2, 2] -> [3, 2, 1]: block 2 goes to rank 0, block 4 to rank 1; then block 1 goes on to
    # rank 1, and blocks 2, 3 and 4 to rank 2
    assert {key: span.size_bytes // one for key, span in got.items()} == {
        (10, 0): 1,
        (10, 1): 1,
        (20, 1): 1,
        (20, 2): 3,
    }
    for span in got.values():
        assert span.size_bytes % one == 0
        assert span.seconds >= span.size_bytes / 1e9
    assert compute_metrics(records)["moves"][1]["size_bytes"] == 4 * one
    assert [rank["blocks"] for rank in compute_metrics(records)["ranks"]] == [
        [0, 1],
        [1, 2],
        [2, 6],
    ]
    assert [info.blocks for info in records.info.ranks] == [(0, 2), (2, 4), (4, 6)]


def test_the_most_that_a_rank_held_is_its_memory() -> None:
    plan = make_plan(gpus=2, chunks=12, partition={"schedule": {6: [5, 1], 9: [2, 4]}})
    records = simulate(plan, FlatLatency())
    for rank, most in ((0, range(5)), (1, range(2, 6))):
        fullest = rank_memory(plan, replace(plan.stages[rank], blocks=most))
        assert records.info.ranks[rank].memory_bytes == fullest


def test_moving_is_idle_time_with_a_cause() -> None:
    plan = make_plan(gpus=3, chunks=60, partition={"schedule": {30: [3, 2, 1]}})
    records = simulate(plan, PerByte())
    moved_s = sum(s.seconds for s in records.spans if s.kind == "move")
    assert moved_s > 0.01
    times = rank_times(records, steady_window(records).interval)
    caused_s = [time.seconds_by_cause()["rebalancing"] for time in times]
    for rank in (0, 1):
        own_s = sum(s.seconds for s in records.spans if s.kind == "move" and s.rank == rank)
        assert caused_s[rank] >= own_s > 0
    # rank 2 has given its block and waits for an item of rank 1, which is still exchanging
    assert not [s for s in records.spans if s.kind == "move" and s.rank == 2]
    assert caused_s[2] > 0
    for time in times:
        assert sum(time.seconds_by_cause().values()) == pytest.approx(time.idle_s)
    still = simulate(make_plan(gpus=3, chunks=60), PerByte())
    for time in rank_times(still, steady_window(still).interval):
        assert time.seconds_by_cause()["rebalancing"] == 0


def test_a_transfer_that_nobody_has_calibrated_is_refused() -> None:
    class Bounded(FlatLatency):
        def predict(self, op: Op) -> Prediction:
            if isinstance(op, Hop) and op.size_bytes > 2e6:
                raise CalibrationError(f"outside the calibrated range: {op}")
            return super().predict(op)

    plan = make_plan(gpus=2, chunks=12, partition={"schedule": {6: [5, 1]}})
    with pytest.raises(CalibrationError, match=r"outside the calibrated range: Hop"):
        simulate(plan, Bounded())


def test_a_move_takes_what_migrations_took_where_they_were_measured() -> None:
    class Measured(FlatLatency):
        def predict(self, op: Op) -> Prediction:
            if isinstance(op, Migration):
                return Prediction(0.25, 0.25, 0.25, self.provenance)
            return super().predict(op)

    plan = make_plan(gpus=2, chunks=12, partition={"schedule": {6: [5, 1]}})
    moved = {
        type(latency): [s.seconds for s in simulate(plan, latency).spans if s.kind == "move"]
        for latency in (Measured(), FlatLatency())
    }
    assert max(moved[Measured]) - max(moved[FlatLatency]) == pytest.approx(2 * (0.25 - 0.005))


def test_a_throttled_card_is_relieved() -> None:
    asked = {"policy": "optimal", "blocks": [10, 10, 10], "rebalance": "continuous"}
    common = {**WIDE, "resolution": [480, 832], "gpus": 3, "chunks": 150, "slowdown": {1: 3.0}}
    # e + d0 + x = 20 + 100 + 5 ms, 3 * 100 + 5, 100 + 30 + 5: the slow rank sets the pace
    left = simulate(make_plan(**common, partition={"blocks": [10, 10, 10]}), FlatLatency())
    assert compute_metrics(left)["period_s"] == pytest.approx(0.305)
    records = simulate(make_plan(**common, partition=asked), FlatLatency())
    (move,) = compute_metrics(records)["moves"]
    assert move["blocks"] == [13, 5, 12]
    last = [c.emitted_s for c in sorted(records.chunks, key=lambda c: c.chunk)][-30:-10]
    period_s = (last[-1] - last[0]) / (len(last) - 1)
    # 20 + 130 + 5, 3 * 50 + 5, 120 + 30 + 5 ms
    assert period_s == pytest.approx(0.155)
    assert move["item"] >= first_look(make_plan(**common, partition=asked))


def test_a_slowed_rank_takes_longer_for_everything_it_serves() -> None:
    records = simulate(make_plan(gpus=2, chunks=6, slowdown={0: 2.0}), FlatLatency())
    seconds = {(s.rank, s.kind): s.seconds for s in records.spans}
    assert seconds[0, "encode"] == pytest.approx(2 * 0.02)
    assert seconds[0, "dit"] == pytest.approx(2 * 3 * 0.01)
    assert seconds[1, "dit"] == pytest.approx(3 * 0.01)
    assert seconds[1, "decode"] == pytest.approx(0.03)


def test_steps_weigh_in_a_pass_as_they_are_predicted() -> None:
    """A stage that grows asks the latency model for its new size."""
    asked: set[int] = set()

    class Watching(FlatLatency):
        def predict(self, op: Op) -> Prediction:
            if isinstance(op, DitPass):
                asked.add(op.blocks)
            return super().predict(op)

    simulate(make_plan(gpus=2, chunks=12, partition={"schedule": {6: [5, 1]}}), Watching())
    assert asked == {1, 3, 5}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.randoms())
def test_moves_make_one_partition_of_another(before: list, random) -> None:
    after = list(before)
    random.shuffle(after)
    owners = [rank for rank, part in enumerate(intervals(before)) for _ in part]
    moves = moves_between(before, after)
    for move in moves:
        assert owners[move.block] == move.giver != move.receiver
        owners[move.block] = move.receiver
    assert owners == [rank for rank, part in enumerate(intervals(after)) for _ in part]
    # two ranks never give to each other: their messages have one direction
    pairs = {(move.giver, move.receiver) for move in moves}
    assert not pairs & {(receiver, giver) for giver, receiver in pairs}
