"""A live input that is faster than the pipeline loses chunks by rule, and no chunk grows old."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import read_frames
from streamtwin.sim.simulate import simulate

POLICIES = ["drop_oldest", "drop_newest"]


def longest_allowed_s(records: Records, plan: Plan) -> float:
    """How old a chunk may be when it is emitted: a period for each chunk before it, and its own.

    Before it are at most those that wait with it and those in flight. The period is the longest
    gap between emissions, the one before the first included.
    """
    emitted_s = sorted(c.emitted_s for c in records.chunks if c.emitted_s is not None)
    period_s = max(after - before for before, after in pairwise([0.0, *emitted_s]))
    return (plan.scenario.workload.max_waiting + plan.tail_chunks + 1) * period_s


def check(records: Records, plan: Plan) -> None:
    ages_s = [c.latency_s for c in records.chunks if c.latency_s is not None]
    assert max(ages_s) <= longest_allowed_s(records, plan) + 1e-9
    limit = plan.scenario.workload.max_waiting
    seen = [d for d in records.decisions if d.family == "admission"]
    assert all(decision.saw["waiting"] <= limit for decision in seen)
    assert len(seen) == plan.scenario.chunks == len(records.chunks)
    refused = sum(decision.chose != "accept" for decision in seen)
    dropped = [c for c in records.chunks if c.outcome == "dropped"]
    assert len(dropped) == refused == plan.scenario.chunks - len(ages_s)
    assert compute_metrics(records)["chunks"]["dropped"] == len(dropped)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(POLICIES),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.floats(1.2, 20.0),
)
def test_in_the_simulator(
    admission: str, max_waiting: int, gpus: int, steps: int, stream_batch: bool, excess: float
) -> None:
    shape = {"gpus": gpus, "steps": steps, "stream_batch": stream_batch, "chunks": 40}
    offline = make_plan(**shape)
    fps = compute_metrics(simulate(offline, FlatLatency()))["fps"]
    plan = make_plan(**shape, admission=admission, max_waiting=max_waiting, source_fps=excess * fps)
    check(simulate(plan, FlatLatency()), plan)


@pytest.mark.parametrize("admission", POLICIES)
def test_in_the_runtime(admission: str, tmp_path: Path) -> None:
    """At 400 frames/s the input is several times faster than the pipeline of 128 x 192 pixels."""
    plan = make_plan(
        resolution=[128, 192],
        chunks=200,
        gpus=2,
        source_fps=400,
        admission=admission,
        max_waiting=2,
    )
    clip = read_frames(clip_path(), 128, 192)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    assert sum(c.outcome == "dropped" for c in records.chunks) >= 10
    check(records, plan)
