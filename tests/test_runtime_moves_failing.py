"""A rank that dies or hangs while blocks move is named, and no other rank for it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from builders import make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.library import clip_path
from streamtwin.runtime import worker
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.video import Clip, read_frames

SMALL: dict[str, Any] = {"resolution": [32, 48], "chunks": 12}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def die_while_moving(context: RankContext, job: worker.Job, rank: int, where: str) -> None:
    """Run a rank that is killed in an exchange; its first progress is its pid."""
    context.progress(os.getpid())
    intact = getattr(BlockExchange, where)

    def killed(exchange: BlockExchange, *args: Any) -> Any:
        if exchange.rank == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return intact(exchange, *args)

    setattr(BlockExchange, where, killed)
    worker.run_rank(context, job)


@pytest.mark.parametrize(("rank", "where"), [(1, "_give"), (0, "_get")])
def test_a_rank_that_dies_while_blocks_move_is_named(
    rank: int, where: str, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=3, partition={"schedule": {6: [4, 1, 1]}})
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path)
    pids: dict[int, int] = {}
    with pytest.raises(RunError, match=rf"rank {rank} of 3 failed: [^\n]*SIGKILL"):
        run_ranks(die_while_moving, 3, (job, rank, where), on_progress=pids.setdefault)
    assert len(pids) == 3
    alive = [p for p in pids.values() if psutil.pid_exists(p)]
    assert not [p for p in alive if psutil.Process(p).status() != psutil.STATUS_ZOMBIE]


def hang_while_giving(context: RankContext, job: worker.Job) -> None:
    """Run a ring in which rank 1 never gives what is due; its first progress is its pid."""
    context.progress(os.getpid())

    def hang(exchange: BlockExchange, *args: Any) -> None:
        time.sleep(600)

    BlockExchange._give = hang  # type: ignore[method-assign]
    worker.run_rank(context, job)


def test_a_rank_that_waits_for_blocks_is_not_blamed(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=3, partition={"schedule": {6: [3, 1, 2]}})
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path)
    with pytest.raises(RunError, match=r"^rank 1 is stuck: [^\n]*in its own work"):
        run_ranks(hang_while_giving, 3, (job,), hang_timeout_s=2.0)
