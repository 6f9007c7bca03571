"""Simulated protocol variants against closed forms and against each other."""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import test_sim_laws as laws
from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics, emitted_chunks, steady_window
from streamtwin.core.plan import Plan
from streamtwin.core.records import SERVICES, Records
from streamtwin.sim.simulate import simulate

seconds = st.floats(0.002, 0.1)
flat = st.builds(FlatLatency, encode_s=seconds, block_s=seconds, decode_s=seconds, hop_s=seconds)
protocols = st.sampled_from(["sdv2", "overlap"])
decodes = st.sampled_from([None, "after_send", "before_send"])
runs = settings(deadline=None)


def variants(**fixed) -> st.SearchStrategy[Plan]:
    """Plans of every protocol, order of decoding and placement."""
    common = {"steps": st.integers(1, 4), "protocol": protocols, **fixed}
    own = st.just("dedicated")
    return st.one_of(
        st.builds(make_plan, gpus=st.integers(1, 5), decode=decodes, **common),
        st.builds(make_plan, gpus=st.integers(3, 6), vae_placement=own, **common),
    )


def period_s(plan: Plan, latency: FlatLatency) -> float:
    """P: the busiest rank, the link, or the round trip of the lanes.

    A rank is busy with its services and, unless receives are posted ahead, with the transfer of
    what it receives. Posted ahead, transfers of one link follow each other, so that the link is a
    resource of its own. In either case item p is sent by rank 0 once the result of p - W + 1 is
    back: the transfers and services on that way take W - 1 periods at most.
    """
    deployment = plan.scenario.deployment
    e, v, x, W = latency.encode_s, latency.decode_s, latency.hop_s, plan.lanes
    passes = [latency.block_s * len(stage.blocks) for stage in plan.stages]
    busy = [
        e * stage.encodes + d + v * stage.decodes
        for stage, d in zip(plan.stages, passes, strict=True)
    ]
    if W == 1:
        return busy[0]
    decoded_on_the_way = v * deployment.decodes_before_send
    trip_s = (W * x + sum(passes[1:W]) + decoded_on_the_way) / (W - 1)
    exposed = 0.0 if deployment.overlaps else x
    return max(x, trip_s, *(one + exposed for one in busy))


@given(variants(chunks=st.just(260)), flat)
@settings(max_examples=60, deadline=None)
def test_period(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    done = emitted_chunks(records)
    last = len(done) - 1 - plan.tail_chunks
    late_s = done[last].emitted_s - done[last - 60].emitted_s
    assert late_s / 60 == pytest.approx(period_s(plan, latency), rel=1e-3)
    assert compute_metrics(records)["period_s"] == pytest.approx(late_s / 60, rel=0.02)


@given(
    st.integers(2, 5),
    st.integers(1, 4),
    st.sampled_from(["after_send", "before_send"]),
    st.sampled_from([None, 8.0, 30.0]),
    flat,
)
@runs
def test_posting_receives_ahead_never_makes_a_chunk_later(
    gpus: int, steps: int, decode: str, fps: float | None, latency: FlatLatency
) -> None:
    plans = [
        make_plan(gpus=gpus, steps=steps, decode=decode, source_fps=fps, protocol=protocol)
        for protocol in ("overlap", "sdv2")
    ]
    ahead, asked = (simulate(plan, latency).chunks for plan in plans)
    for one, other in zip(ahead, asked, strict=True):
        assert one.emitted_s <= other.emitted_s + 1e-9


@given(variants(chunks=st.integers(4, 16), source_fps=st.sampled_from([None, 16.0])), flat)
@runs
def test_variants_keep_the_laws_of_every_run(plan: Plan, latency: FlatLatency) -> None:
    for law in (
        laws.test_every_chunk_is_emitted_or_dropped,
        laws.test_one_service_at_a_time_per_device,
        laws.test_a_lane_carries_no_more_rows_than_it_may,
        laws.test_bubbles_sum_to_idle_time,
        laws.test_a_simulated_rank_is_idle_only_for_somebody,
        laws.test_same_seed_same_bytes,
    ):
        law.hypothesis.inner_test(plan, latency)


def of_kind(records: Records, kind: str, rank: int) -> dict[int, object]:
    """Spans of *rank* of one kind, by item."""
    return {s.item: s for s in records.spans if s.kind == kind and s.rank == rank}


@given(variants(chunks=st.integers(4, 24), protocol=st.just("overlap")), flat)
@runs
def test_of_a_transfer_a_rank_waits_for_what_is_left_when_it_asks(
    plan: Plan, latency: FlatLatency
) -> None:
    assume(plan.ranks > 1)
    records = simulate(plan, latency)
    for rank in range(plan.ranks):
        hops, transfers = of_kind(records, "hop", rank), of_kind(records, "transfer", rank)
        assert hops.keys() <= transfers.keys()
        for item, transfer in transfers.items():
            assert transfer.seconds == pytest.approx(latency.hop_s)
            if item in hops:
                assert transfer.began_s <= hops[item].began_s
                assert hops[item].ended_s == transfer.ended_s
        served = [s for s in records.spans if s.rank == rank and s.kind in SERVICES]
        for hop in hops.values():  # it does nothing else while it waits
            assert not any(s.began_s < hop.ended_s and s.ended_s > hop.began_s for s in served)
        # one is computed on, one is filled: the next transfer waits until an item is asked for
        in_order = [transfers[item] for item in sorted(transfers)]
        for before, after in pairwise(in_order):
            assert before.ended_s <= after.began_s + 1e-12


def test_a_hidden_transfer_is_no_bubble_but_keeps_its_link_busy() -> None:
    latency = FlatLatency(hop_s=0.01)
    found = {
        protocol: compute_metrics(simulate(make_plan(gpus=2, protocol=protocol), latency))
        for protocol in ("sdv2", "overlap")
    }
    asked, ahead = (
        found[protocol]["ranks"][1]["bubbles"]["communication"] for protocol in ("sdv2", "overlap")
    )
    assert asked > 0.15
    assert ahead < 0.1 * asked
    for metrics in found.values():
        for link in metrics["links"]:
            assert link["busy_fraction"] == pytest.approx(0.01 / metrics["period_s"], rel=0.05)


WAITING_RANKS = {
    ("sdv2", "after_send"): lambda W: max(0, W - 2),
    ("overlap", "after_send"): lambda W: max(0, W - 3),
    ("sdv2", "before_send"): lambda _: 0,
    ("overlap", "before_send"): lambda _: 0,
}


@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("protocol", "decode"), WAITING_RANKS)
def test_decoding_before_sending_frees_the_chunk_that_the_last_rank_holds(
    gpus: int, protocol: str, decode: str
) -> None:
    """A live input: a result is taken by rank 0 when the chunk W - 1 later has come.

    Until then the last rank cannot send the next one, and decodes what it holds W - 2 chunk
    times late; a buffer that takes a result ahead makes that one less. Decoded first, with room for
    the results, it is not held at all.
    """
    plan = make_plan(gpus=gpus, source_fps=4.0, chunks=40, protocol=protocol, decode=decode)
    metrics = compute_metrics(simulate(plan, FlatLatency()))
    held = WAITING_RANKS[protocol, decode](gpus)
    waits_s = ((plan.steps - 1) * gpus + held) * 4 / 4.0
    assert waits_s < metrics["latency_s"]["p50"] < waits_s + 0.25
    assert metrics["period_s"] == pytest.approx(1.0)


@pytest.mark.parametrize("protocol", ["sdv2", "overlap"])
@pytest.mark.parametrize("gpus", [2, 3, 4])
def test_a_result_leaves_before_or_after_its_chunk_is_decoded(gpus: int, protocol: str) -> None:
    moved = {"sdv2": "hop", "overlap": "transfer"}[protocol]
    early = {}
    for decode in ("after_send", "before_send"):
        plan = make_plan(gpus=gpus, protocol=protocol, decode=decode)
        records = simulate(plan, FlatLatency(encode_s=0.001))
        decoded, back = of_kind(records, "decode", gpus - 1), of_kind(records, moved, 0)
        pairs = [(back[item], decoded[item]) for item in decoded.keys() & back.keys()]
        assert len(pairs) > 20
        early[decode] = sum(result.began_s < chunk.ended_s for result, chunk in pairs)
    assert early["before_send"] == 0
    assert early["after_send"] > 10


@given(st.integers(3, 6), st.integers(1, 3), flat)
@runs
def test_vae_ranks_do_nothing_else_and_the_ring_is_one_shorter(
    gpus: int, steps: int, latency: FlatLatency
) -> None:
    plan = make_plan(gpus=gpus, steps=steps, vae_placement="dedicated")
    records = simulate(plan, latency)
    did = {
        rank: {s.kind for s in records.spans if s.rank == rank and s.kind in SERVICES}
        for rank in range(gpus)
    }
    assert did == {0: {"encode"}, **{r: {"dit"} for r in range(1, gpus - 1)}, gpus - 1: {"decode"}}
    assert plan.lanes == records.info.lanes == gpus - 1
    links = {(link["from_rank"], link["to_rank"]) for link in compute_metrics(records)["links"]}
    ring = {(rank, (rank + 1) % (gpus - 1)) for rank in range(gpus - 1)}
    assert links == ring | {(gpus - 2, gpus - 1)}


@pytest.mark.parametrize("chunks", [30, 31, 32])
def test_the_steady_window_is_of_whole_turns_of_the_ring(chunks: int) -> None:
    """Four ranks, three of them in the ring."""
    plan = make_plan(gpus=4, vae_placement="dedicated", chunks=chunks)
    steady = steady_window(simulate(plan, FlatLatency()))
    assert steady.reached
    assert (steady.last - steady.first) % 3 == 0
