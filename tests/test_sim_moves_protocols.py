"""Rebalancing where receives are posted ahead, and where the VAE has ranks of its own."""

from typing import Any

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.errors import ScenarioError
from streamtwin.core.latency import Prediction
from streamtwin.core.memory import check_memory, rank_memory, with_room
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import Hop, Op
from streamtwin.core.policies.rebalance import RebalanceView
from streamtwin.core.records import Decision, Records
from streamtwin.core.steady import emitted_at, emitted_chunks, steady_window
from streamtwin.sim.simulate import simulate

WIDE: dict[str, Any] = {
    "model": "wan2.1-1.3b",
    "vae": "wan2.1",
    "resolution": [480, 832],
    "chunks": 120,
}
ASKED = {"policy": "optimal", "blocks": [10, 10, 10], "rebalance": "continuous"}


class PerByte(FlatLatency):
    """A hop takes a millisecond and its bytes at 10 GB/s."""

    def predict(self, op: Op) -> Prediction:
        if isinstance(op, Hop):
            mean_s = 1e-3 + op.size_bytes / 1e10
            return Prediction(mean_s, mean_s, mean_s, self.provenance)
        return super().predict(op)


def rebalancing(records: Records) -> list[Decision]:
    return [d for d in records.decisions if d.family == "rebalance"]


@pytest.mark.parametrize("protocol", ["sdv2", "overlap"])
def test_a_slow_rank_between_ranks_of_the_vae_is_relieved(protocol: str) -> None:
    """30 blocks of 10 ms over paces 1, 3, 1: 13 + 4 + 13 is best, whatever the VAE takes."""
    common = {**WIDE, "gpus": 5, "vae_placement": "dedicated", "slowdown": {2: 3.0}}
    plan = make_plan(**common, protocol=protocol, partition=ASKED)
    records = simulate(plan, FlatLatency(encode_s=0.05, decode_s=0.08))
    (move,) = compute_metrics(records)["moves"]
    assert move["blocks"] == [0, 13, 4, 13, 0]
    view = RebalanceView.seen(rebalancing(records)[0].saw)
    assert view.blocks == (10, 10, 10)
    assert view.vae_s == (0, 0, 0)
    assert view.dit_s == pytest.approx((0.1, 0.3, 0.1))
    ranks = compute_metrics(records)["ranks"]
    assert [rank["blocks"] for rank in ranks] == [[0, 0], [0, 13], [13, 17], [17, 30], [0, 0]]
    assert {span.rank for span in records.spans if span.kind == "move"} == {1, 3}


def test_blocks_that_move_once_belong_to_the_warm_up() -> None:
    """Frames are counted from the move on: the period is that of its result from the start."""
    latency = FlatLatency(encode_s=0.1, decode_s=0.1)
    common = {**WIDE, "gpus": 2, "chunks": 60}
    moving = make_plan(**common, partition={"policy": "sdv2_once", "blocks": [20, 10]})
    records = simulate(moving, latency)
    found = compute_metrics(records)
    (move,) = found["moves"]
    began_s = steady_window(records).interval[0]
    counted = [chunk for chunk in emitted_chunks(records) if emitted_at(chunk) >= began_s]
    assert all(chunk.taken_s >= move["time_s"] for chunk in counted)
    before, after = (
        compute_metrics(simulate(make_plan(**common, partition={"blocks": blocks}), latency))
        for blocks in ([20, 10], move["blocks"])
    )
    assert found["period_s"] == pytest.approx(after["period_s"])
    assert found["period_s"] < 0.9 * before["period_s"]


def test_the_references_rule_with_a_vae_of_its_own_weighs_blocks_alone() -> None:
    asked = {"policy": "sdv2_once", "blocks": [20, 10]}
    plan = make_plan(**WIDE, gpus=4, vae_placement="dedicated", partition=asked)
    records = simulate(plan, FlatLatency(encode_s=0.5, decode_s=0.5))
    (decision,) = rebalancing(records)
    # three ranks in the ring and two steps: 2 (W + N + 1), behind the first chunk's two turns
    assert (decision.chunk, decision.chose) == (14, "0/15/15/0")


def test_a_transfer_that_hides_is_no_cost_but_tells_the_pace_of_a_move() -> None:
    seen = {}
    for protocol in ("sdv2", "overlap"):
        plan = make_plan(**WIDE, gpus=3, protocol=protocol, partition=ASKED)
        first = rebalancing(simulate(plan, PerByte()))[0]
        seen[protocol] = RebalanceView.seen(first.saw)
    assert min(seen["sdv2"].hop_s) > 0.001
    assert seen["overlap"].hop_s == (0, 0, 0)
    for view in seen.values():
        # weights of 46.4 million parameters and 2 rows of K and V of 9360 tokens, 4 bytes each
        size_bytes = 4 * (46_440_704 + 2 * 2 * 9360 * 1536 + 2 * 512 * 1536)
        assert view.move_s == pytest.approx(size_bytes / 1e10, rel=0.6)
        assert view.move_s > size_bytes / 1e10


@pytest.mark.parametrize("counts", [[0, 15, 15, 0], [15, 15, 0], [30]])
def test_only_ranks_of_blocks_are_given_blocks(counts: list[int]) -> None:
    with pytest.raises(ScenarioError, match=r"partition.schedule.5 = .*give 2 counts of at least"):
        make_plan(**WIDE, gpus=4, vae_placement="dedicated", partition={"schedule": {5: counts}})


def test_room_is_counted_for_ranks_of_blocks_alone() -> None:
    asked = {**ASKED, "blocks": [15, 15]}
    plan = make_plan(**WIDE, gpus=4, vae_placement="dedicated", partition=asked)
    need = sum(rank_memory(plan, plan.stages[1]).values())
    assert with_room(plan, need).room == (15, 15)
    schedule = {"blocks": [15, 15], "schedule": {9: [20, 10]}}
    planned = make_plan(**WIDE, gpus=4, vae_placement="dedicated", partition=schedule)
    check_memory(planned, 2 * need, "cpu")
    with pytest.raises(ScenarioError, match="rank 1 needs"):
        check_memory(planned, need, "cpu")
