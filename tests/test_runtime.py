"""The real pipeline records what the simulated one does, and leaves what it promises."""

from pathlib import Path

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.decision_log import first_difference
from streamtwin.core.errors import UserError
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.policies.admission import ADMISSION, QueueView
from streamtwin.core.records import SERVICES
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

SMALL = {"resolution": [32, 48], "chunks": 10}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


@pytest.mark.parametrize("vae", ["tiny", "taehv-tiny"])
def test_every_frame_is_in_the_video(vae: str, clip: Clip, tmp_path: Path) -> None:
    done = run_pipeline(make_plan(**SMALL, gpus=2, vae=vae), clip, tmp_path / "out.mp4")
    assert done.frames == 1 + 4 * 10
    assert read_frames(done.video, 32, 48).frames.shape == (41, 32, 48, 3)
    assert [c.outcome for c in done.records.chunks] == ["emitted"] * 10
    compute_metrics(done.records)


@pytest.mark.parametrize(("gpus", "stream_batch"), [(1, True), (2, True), (2, False), (3, True)])
def test_twins_do_the_same_in_the_same_order(
    gpus: int, stream_batch: bool, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=gpus, stream_batch=stream_batch)
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    virtual = simulate(plan, FlatLatency(), motion_trace(clip, plan))
    for rank in range(gpus):
        did, would = (
            [
                (s.kind, s.chunk, s.item, s.rows, s.size_bytes)
                for s in records.spans
                if s.rank == rank and s.kind in (*SERVICES, "hop")
            ]
            for records in (real, virtual)
        )
        assert did == would
    # an input that always waits is released when rank 0 looks: that instant is each executor's own
    assert first_difference(virtual.decisions, real.decisions, seconds=False) is None
    assert {d.family for d in real.decisions} == {
        "admission",
        "batching",
        "dispatch",
        "noise",
        "partition",
    }


def test_a_live_input_is_taken_when_its_clock_releases_it(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(resolution=[32, 48], chunks=8, gpus=2, source_fps=20)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    released_s = [plan.scenario.shape.last_frame(chunk) / 20 for chunk in range(8)]
    assert [c.released_s for c in records.chunks] == released_s
    taken = {c.chunk: c.taken_s for c in records.chunks if c.taken_s is not None}
    assert 0 in taken
    assert all(at_s >= released_s[chunk] for chunk, at_s in taken.items())
    for wait in (s for s in records.spans if s.kind == "wait_input"):
        assert any(wait.began_s < due_s <= wait.ended_s for due_s in released_s)


@pytest.mark.parametrize(("gpus", "vae"), [(1, "taehv-tiny"), (2, "tiny"), (2, "taehv-tiny")])
def test_predicted_memory_is_what_a_rank_holds(
    gpus: int, vae: str, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=gpus, vae=vae)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    for stage, info in zip(plan.stages, records.info.ranks, strict=True):
        predicted = rank_memory(plan, stage)
        for part in ("kv", "cross_kv", "weights", "vae"):
            assert predicted[part] == info.memory_bytes[part], part


def test_a_device_that_is_not_there_is_refused(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"device 'tpu': choose cpu or cuda"):
        run_pipeline(make_plan(), clip, tmp_path / "x.mp4", device="tpu")


@pytest.mark.parametrize(("admission", "gpus"), [("drop_oldest", 1), ("drop_newest", 2)])
def test_an_input_that_is_too_fast_loses_chunks_and_not_the_stream(
    admission: str, gpus: int, clip: Clip, tmp_path: Path
) -> None:
    """All chunks come within a millisecond: even the camera's first may be gone when rank 0 looks."""
    plan = make_plan(**SMALL, gpus=gpus, source_fps=60_000, admission=admission, max_waiting=2)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4")
    emitted = [c for c in done.records.chunks if c.outcome == "emitted"]
    dropped = [c for c in done.records.chunks if c.outcome == "dropped"]
    assert len(emitted) + len(dropped) == plan.scenario.chunks
    assert dropped
    assert done.frames == 1 + 4 * len(emitted)
    admitted = [d for d in done.records.decisions if d.family == "admission"]
    for decision in admitted:
        view = QueueView(**decision.saw)  # type: ignore[arg-type]
        assert ADMISSION[decision.policy](view) == decision.chose
