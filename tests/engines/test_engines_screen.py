"""Many deployments at once get the figures that each gets by itself."""

from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.latency import Prediction
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import DitPass, Hop, Op
from streamtwin.core.plan import Plan
from streamtwin.sim.screen import screen, shape_of, walks
from streamtwin.sim.simulate import simulate
from streamtwin.sim.vector_metrics import figures_of_metrics

seconds = st.floats(0.0005, 0.1)


class ByAmount(FlatLatency):
    """Passes cost by rows and attended tokens, hops by bytes: what items differ by shows."""

    def predict(self, op: Op) -> Prediction:
        known = super().predict(op).mean_s
        if isinstance(op, DitPass):
            known *= 0.2 * op.rows + op.kv_tokens / 1000
        if isinstance(op, Hop):
            known *= op.size_bytes / 50_000
        return Prediction(known, known, known, self.provenance)


latencies = st.builds(
    ByAmount,
    encode_s=seconds,
    block_s=st.floats(0.0005, 0.03),
    decode_s=seconds,
    hop_s=st.floats(0.0001, 0.05),
)


@st.composite
def shapes(draw) -> dict:
    own = draw(st.booleans())
    live = draw(st.booleans())
    decode = None if own else draw(st.sampled_from([None, "after_send", "before_send"]))
    return {
        "gpus": draw(st.integers(3, 6) if own else st.integers(1, 6)),
        "vae_placement": "dedicated" if own else "edge",
        "decode": decode,
        "steps": draw(st.integers(1, 4)),
        "protocol": draw(st.sampled_from(["sdv2", "overlap"])),
        "wrap_activations": draw(st.sampled_from([None, True, False])),
        "stream_batch": live or draw(st.booleans()),
        "chunk_latents": draw(st.integers(1, 2)),
        "window": draw(st.sampled_from([3, 6, 9])),
        "sink": 1,
        "chunks": draw(st.integers(3, 40)),
        "live": live,
        "service_noise": False,
    }


@st.composite
def families(draw) -> list[tuple[Plan, FlatLatency]]:
    """Deployments of one shape that differ in times, frame rates, sizes and slowed ranks."""
    shape = draw(shapes())
    rates = st.sampled_from([1.0, 8.0, 16.0, 60.0, 500.0]) if shape.pop("live") else st.none()
    return [
        (
            make_plan(
                **shape,
                source_fps=draw(rates),
                slowdown=draw(st.sampled_from([{}, {0: 1.7}])),
                resolution=draw(st.sampled_from([[128, 192], [64, 96]])),
                viewer={
                    "start_buffer_chunks": draw(st.integers(1, 4)),
                    "start_buffer_s": draw(st.sampled_from([0.0, 0.4, 3.0])),
                },
            ),
            draw(latencies),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]


def screened(family: list[tuple[Plan, FlatLatency]]):
    plans = [plan for plan, _ in family]
    known = {id(plan): latency for plan, latency in family}
    return screen(plans, lambda plan: known[id(plan)])


@given(families())
@settings(deadline=None, max_examples=120)
def test_screened_figures_are_those_of_simulated_records(family) -> None:
    assert len({shape_of(plan) for plan, _ in family}) == 1
    for (plan, latency), one in zip(family, screened(family), strict=True):
        alone = figures_of_metrics(compute_metrics(simulate(plan, latency)))
        assert one.one_by_one is None
        assert astuple(one.figures) == pytest.approx(astuple(alone), rel=1e-9, abs=1e-9)


def test_live_deployments_that_decide_differently_are_told_apart() -> None:
    """Whether the first chunk's last result comes back while rank 0 waits, or behind chunk 1."""
    fps = [0.5, 4.0, 16.0, 60.0, 1000.0]
    plans = [make_plan(gpus=4, source_fps=rate, service_noise=False) for rate in fps]
    family = [(replace(plan), FlatLatency(block_s=b)) for plan in plans for b in (0.001, 0.05, 0.3)]
    for (plan, latency), one in zip(family, screened(family), strict=True):
        alone = figures_of_metrics(compute_metrics(simulate(plan, latency)))
        assert astuple(one.figures) == pytest.approx(astuple(alone), rel=1e-9, abs=1e-9)


OTHERS = {
    "several sessions": {"sessions": 2},
    "drop_oldest": {"admission": "drop_oldest", "source_fps": 16.0},
    "without a stream batch": {"stream_batch": False, "source_fps": 16.0},
    "partition.schedule": {"partition": {"schedule": {5: [4, 2]}}},
    "lanes of their own": {"lanes": "sessions"},
}


@pytest.mark.parametrize("reason", OTHERS)
def test_what_cannot_be_computed_together_is_simulated_and_says_why(reason: str) -> None:
    plan = make_plan(gpus=2, service_noise=False, **OTHERS[reason])
    assert reason in (walks(plan) or "")
    [one] = screen([plan], lambda _: FlatLatency())
    assert reason in (one.one_by_one or "")
    assert one.figures == figures_of_metrics(compute_metrics(simulate(plan, FlatLatency())))


def test_a_screen_keeps_the_order_of_its_plans() -> None:
    plans = [make_plan(gpus=g, steps=n) for g in (1, 3, 2) for n in (2, 1)]
    plans += [replace(plan) for plan in reversed(plans)]
    found = [one.figures for one in screen(plans, lambda _: FlatLatency())]
    assert found == found[::-1]
    assert len(set(found)) > 3
