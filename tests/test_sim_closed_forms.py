"""Simulated runs against closed forms."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.steady import emitted_chunks
from streamtwin.sim.simulate import simulate

seconds = st.floats(0.002, 0.1)


def stage_s(plan, latency: FlatLatency) -> list[float]:
    return [latency.block_s * len(stage.blocks) for stage in plan.stages]


def reference_period_s(plan, latency: FlatLatency) -> float:
    """P of the ring with blocking receives: the slowest rank, or the lanes' round trip."""
    d, e, v, x = stage_s(plan, latency), latency.encode_s, latency.decode_s, latency.hop_s
    W = plan.ranks
    if W == 1:
        return e + d[0] + v
    middle = [x + one for one in d[1:-1]]
    return max([e + d[0] + x, x + d[-1] + v, (W * x + sum(d[1:])) / (W - 1), *middle])


@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.builds(FlatLatency, encode_s=seconds, block_s=seconds, decode_s=seconds, hop_s=seconds),
)
@settings(max_examples=80, deadline=None)
def test_period_of_the_stream_batch(gpus: int, steps: int, latency: FlatLatency) -> None:
    plan = make_plan(gpus=gpus, steps=steps, chunks=240)
    records = simulate(plan, latency)
    expected_s = reference_period_s(plan, latency)
    # near a tie of two limits the transient outlasts the warm-up: late, whole turns of the lanes
    done = emitted_chunks(records)
    last = len(done) - 1 - plan.tail_chunks
    late_s = done[last].emitted_s - done[last - 60].emitted_s
    assert late_s / 60 == pytest.approx(expected_s, rel=1e-3)
    metrics = compute_metrics(records)
    assert metrics["period_s"] == pytest.approx(expected_s, rel=0.01)
    assert metrics["fps"] == pytest.approx(4 / metrics["period_s"])


@given(st.integers(1, 4), st.builds(FlatLatency, encode_s=seconds, block_s=seconds))
@settings(max_examples=30, deadline=None)
def test_one_rank_without_stream_batch_takes_every_pass(steps: int, latency: FlatLatency) -> None:
    plan = make_plan(steps=steps, stream_batch=False, chunks=40)
    expected_s = latency.encode_s + steps * 6 * latency.block_s + latency.decode_s
    assert compute_metrics(simulate(plan, latency))["period_s"] == pytest.approx(expected_s)


@pytest.mark.parametrize("gpus", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_unloaded_latency_is_the_sum_of_services(gpus: int, steps: int) -> None:
    """A slow live input without stream batch: each chunk finds an empty pipeline."""
    plan = make_plan(gpus=gpus, steps=steps, stream_batch=False, source_fps=0.5, chunks=6)
    latency = FlatLatency()
    turn_s = sum(stage_s(plan, latency)) + (gpus * latency.hop_s if gpus > 1 else 0.0)
    last_hop_s = latency.hop_s if gpus > 1 else 0.0
    expected_s = latency.encode_s + steps * turn_s - last_hop_s + latency.decode_s
    for chunk in emitted_chunks(simulate(plan, latency))[1:]:
        assert chunk.latency_s == pytest.approx(expected_s)


@pytest.mark.parametrize("gpus", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 2])
def test_first_frame(gpus: int, steps: int) -> None:
    """Buffered frames, encode, N turns of the whole ring, decode."""
    plan = make_plan(gpus=gpus, steps=steps, source_fps=16.0)
    latency = FlatLatency()
    turn_s = 6 * latency.block_s + (gpus * latency.hop_s if gpus > 1 else 0.0)
    last_hop_s = latency.hop_s if gpus > 1 else 0.0
    expected_s = 4 / 16 + latency.encode_s + steps * turn_s - last_hop_s + latency.decode_s
    assert compute_metrics(simulate(plan, latency))["ttff_s"] == pytest.approx(expected_s)


@given(st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=16, deadline=None)
def test_a_stream_batch_waits_for_input_at_every_step(gpus: int, steps: int) -> None:
    """Input-limited lanes move when a chunk arrives: latency has (N - 1) W chunk times in it.

    The last rank decodes an item only after it has sent its result, which it can once rank 0 has
    taken the result before: with W > 2 that is another W - 2 chunk times.
    """
    plan = make_plan(gpus=gpus, steps=steps, source_fps=4.0, chunks=40)
    latency = FlatLatency()
    metrics = compute_metrics(simulate(plan, latency))
    waits_s = ((steps - 1) * gpus + max(0, gpus - 2)) * 4 / 4.0
    assert waits_s < metrics["latency_s"]["p50"] < waits_s + 0.25
    assert metrics["period_s"] == pytest.approx(1.0)


@given(st.integers(1, 4), st.integers(1, 3), st.booleans())
@settings(max_examples=24, deadline=None)
def test_littles_law(gpus: int, steps: int, stream_batch: bool) -> None:
    """Chunks in flight, averaged over a window, are throughput times latency."""
    plan = make_plan(gpus=gpus, steps=steps, stream_batch=stream_batch, chunks=300)
    records = simulate(plan, FlatLatency())
    chunks = emitted_chunks(records)
    window = (chunks[60].emitted_s, chunks[240].emitted_s)
    inside_s = sum(
        max(0.0, min(c.emitted_s, window[1]) - max(c.released_s, window[0])) for c in chunks
    )
    length_s = window[1] - window[0]
    done = [c for c in chunks if window[0] < c.emitted_s <= window[1]]
    mean_latency_s = sum(c.latency_s for c in done) / len(done)
    assert inside_s / length_s == pytest.approx(len(done) / length_s * mean_latency_s, rel=0.03)
