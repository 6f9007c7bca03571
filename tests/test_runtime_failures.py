"""A rank that fails in a stream is named, takes the others along, and what was emitted stays."""

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from builders import make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.library import clip_path
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import Clip, read_frames

SMALL = {"resolution": [32, 48], "chunks": 10}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def die_at(context: RankContext, job: worker.Job, rank: int, how: str) -> None:
    """Run a rank that breaks in the middle of the stream; its first progress is its pid."""
    context.progress(os.getpid())
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


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    ("how", "cause"), [("killed", "SIGKILL"), ("exits", "code 3"), ("raises", "broken on purpose")]
)
def test_a_rank_that_dies_is_named_and_takes_the_others_along(
    rank: int, how: str, cause: str, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=3)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path)
    pids: dict[int, int] = {}
    with pytest.raises(RunError, match=rf"rank {rank} of 3 failed: [^\n]*{cause}"):
        run_ranks(die_at, 3, (job, rank, how), on_progress=pids.setdefault)
    assert len(pids) == 3
    assert not [pid for pid in pids.values() if is_running(pid)]


def die_late(context: RankContext, job: worker.Job) -> None:
    die_at(context, job, 0, "raises")


def test_what_was_emitted_before_a_failure_is_kept(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "run_rank", die_late)
    out = tmp_path / "kept.mp4"
    with pytest.raises(RunError, match=r"(?s)rank 0 of 1 failed.*frames emitted before"):
        run_pipeline(make_plan(**SMALL), clip, out)
    assert len(read_frames(out, 32, 48).frames) >= 5
