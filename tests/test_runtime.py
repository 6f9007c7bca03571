"""The real pipeline: what comes out does not depend on how it is spread over processes."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.errors import RunError, UserError
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import SERVICES
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import RealRun, motion_trace, run_pipeline
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

SMALL = {"resolution": [32, 48], "chunks": 10}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def run(plan: Plan, clip: Clip, folder: Path) -> tuple[RealRun, np.ndarray]:
    """Run *plan*, and the frames that it emitted, read back from its video."""
    done = run_pipeline(plan, clip, folder / "out.mp4")
    return done, read_frames(done.video, 32, 48).frames


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> dict[int, np.ndarray]:
    """Output of one process without stream batch, by steps."""
    return {
        steps: run(
            make_plan(**SMALL, steps=steps, stream_batch=False),
            clip,
            tmp_path_factory.mktemp("alone"),
        )[1]
        for steps in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("gpus", "steps", "stream_batch"),
    [(1, 2, True), (2, 1, True), (2, 2, True), (2, 2, False), (3, 3, True), (4, 2, True),
     (3, 2, False), (4, 3, False)],
)  # fmt: skip
def test_pipelined_is_single_process(
    gpus: int,
    steps: int,
    stream_batch: bool,
    clip: Clip,
    tmp_path: Path,
    alone: dict[int, np.ndarray],
) -> None:
    plan = make_plan(**SMALL, gpus=gpus, steps=steps, stream_batch=stream_batch)
    done, frames = run(plan, clip, tmp_path)
    assert done.frames == 1 + 4 * 10
    assert frames.shape == alone[steps].shape
    # the same numbers but for the order of sums; a frame in a wrong place differs by tens
    assert np.abs(frames.astype(int) - alone[steps]).mean() < 0.5
    assert np.abs(np.diff(frames.astype(int), axis=0)).mean() > 2.0
    assert [c.outcome for c in done.records.chunks] == ["emitted"] * 10
    compute_metrics(done.records)


def test_another_seed_is_another_video(clip: Clip, tmp_path: Path, alone: dict) -> None:
    _, frames = run(make_plan(**SMALL, seed=1, stream_batch=False), clip, tmp_path)
    assert np.abs(frames.astype(int) - alone[2]).mean() > 2.0


@pytest.mark.parametrize(("gpus", "stream_batch"), [(1, True), (2, True), (2, False), (3, True)])
def test_twins_do_the_same_in_the_same_order(
    gpus: int, stream_batch: bool, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=gpus, stream_batch=stream_batch)
    real = run(plan, clip, tmp_path)[0].records
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
    chose, would_choose = (
        [
            (d.family, d.policy, d.chunk, dict(d.saw), d.chose)
            for d in sorted(records.decisions, key=lambda d: (d.family, d.chunk))
        ]
        for records in (real, virtual)
    )
    assert chose == would_choose
    assert {d[0] for d in chose} == {"admission", "batching", "dispatch", "noise", "partition"}


def test_a_live_input_sets_the_pace(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(resolution=[32, 48], chunks=24, gpus=2, source_fps=40)
    metrics = compute_metrics(run(plan, clip, tmp_path)[0].records)
    assert metrics["period_s"] == pytest.approx(0.1, rel=0.1)
    assert metrics["ranks"][0]["bubbles"]["input"] > 0


def test_predicted_memory_is_what_a_rank_holds(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=2)
    records = run(plan, clip, tmp_path)[0].records
    for stage, info in zip(plan.stages, records.info.ranks, strict=True):
        predicted = rank_memory(plan, stage)
        for part in ("kv", "cross_kv"):
            assert predicted[part] == info.memory_bytes[part]
        assert predicted["weights"] == pytest.approx(info.memory_bytes["weights"], rel=0.05)
        assert predicted["vae"] == pytest.approx(info.memory_bytes["vae"], rel=0.3)


def children() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True) if _is_rank(p)}


def _is_rank(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def die_at(context: RankContext, job: worker.Job, rank: int, how: str) -> None:
    """Run a rank that breaks in the middle of the stream."""
    emit = worker.Station.forward
    turns = iter(range(100))

    def forward(station: worker.Station, item: object) -> None:
        if context.rank == rank and next(turns) == 6:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "exits":
                os._exit(3)
            raise ValueError("broken on purpose")
        emit(station, item)  # type: ignore[arg-type]

    worker.Station.forward = forward  # type: ignore[method-assign,assignment]
    worker.run_rank(context, job)


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    ("how", "cause"), [("killed", "SIGKILL"), ("exits", "code 3"), ("raises", "broken on purpose")]
)
def test_a_rank_that_dies_is_named_and_takes_the_others_along(
    rank: int, how: str, cause: str, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=3)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path / "out.rgb")
    before = children()
    began_s = time.monotonic()
    with pytest.raises(RunError, match=rf"rank {rank} of 3 failed: [^\n]*{cause}"):
        run_ranks(die_at, 3, (job, rank, how))
    assert time.monotonic() - began_s < 20.0  # of which the start takes a few seconds
    assert children() <= before


def never_ready(context: RankContext) -> None:
    if context.rank == 1:
        time.sleep(60)
    context.ready()


def test_a_rank_that_never_gets_ready_is_named() -> None:
    with pytest.raises(RunError, match=r"rank 1 did not become ready within 2 s"):
        run_ranks(never_ready, 2, start_timeout_s=2.0)


def test_what_was_emitted_before_a_failure_is_kept(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "run_rank", die_late)
    out = tmp_path / "kept.mp4"
    with pytest.raises(RunError, match=r"(?s)rank 0 of 1 failed.*frames emitted before"):
        run_pipeline(make_plan(**SMALL), clip, out)
    assert len(read_frames(out, 32, 48).frames) >= 5


def die_late(context: RankContext, job: worker.Job) -> None:
    die_at(context, job, 0, "raises")


def test_a_device_that_is_not_there_is_refused(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"device 'tpu': choose cpu or cuda"):
        run_pipeline(make_plan(), clip, tmp_path / "x.mp4", device="tpu")
