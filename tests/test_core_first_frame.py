"""The first frame of a warm pipeline: what is waited for, and the work of one chunk."""

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.sim.simulate import simulate


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("stream_batch", [True, False])
def test_on_one_card_it_is_the_buffered_frames_and_a_period(steps: int, stream_batch: bool) -> None:
    common = {"gpus": 1, "steps": steps, "stream_batch": stream_batch, "chunks": 60}
    period_s = compute_metrics(simulate(make_plan(**common), FlatLatency()))["period_s"]
    live = compute_metrics(simulate(make_plan(**common, source_fps=8.0), FlatLatency()))
    assert live["ttff_warm_s"] == pytest.approx(4 / 8 + period_s)
    # the stream's own first chunk is a frame longer, and takes every step by itself
    assert live["ttff_s"] > 4 / 8 + period_s


def test_on_several_cards_it_is_the_way_to_the_last() -> None:
    """Encode 20 ms, three passes of 20 ms, two hops of 5 ms, decode 30 ms."""
    plan = make_plan(gpus=3, steps=2, chunks=60, source_fps=8.0)
    found = compute_metrics(simulate(plan, FlatLatency()))["ttff_warm_s"]
    assert found == pytest.approx(4 / 8 + 0.020 + 3 * 0.020 + 2 * 0.005 + 0.030)


def test_an_input_that_always_waits_has_none() -> None:
    records = simulate(make_plan(gpus=2, chunks=30), FlatLatency())
    assert compute_metrics(records)["ttff_warm_s"] is None
