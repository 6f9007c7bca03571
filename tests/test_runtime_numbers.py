"""What the pipeline computes does not depend on how it is spread over processes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from builders import make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.plan import Plan
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.video import Clip, read_frames

SMALL = {"resolution": [32, 48], "chunks": 10}


class Output(NamedTuple):
    """Clean latents [frames, C, h, w] in the order of decoding, and the raw frames emitted."""

    latents: np.ndarray
    frames: np.ndarray


def recorded(context: RankContext, job: worker.Job) -> list[np.ndarray]:
    """Run a rank and keep what it decodes."""
    latents, decode = [], StageKernels.decode

    def keep(kernels, state, clean):
        if state.session == 0:  # -1 is the warm-up
            latents.append(clean.numpy().copy())
        return decode(kernels, state, clean)

    StageKernels.decode = keep  # type: ignore[method-assign]
    worker.run_rank(context, job)
    return latents


def run(plan: Plan, clip: Clip, folder: Path) -> Output:
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder / "out.rgb")
    latents = run_ranks(recorded, plan.ranks, (job,))[-1]
    frames = np.fromfile(job.spool, np.uint8).reshape(-1, 32, 48, 3)
    assert len(latents) == 10
    return Output(np.concatenate(latents), frames)


def error(value: np.ndarray, reference: np.ndarray) -> float:
    """Norm of the difference as a share of the reference's."""
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Output]:
    """Output of one process without stream batch, by steps."""
    return {
        steps: run(
            make_plan(**SMALL, steps=steps, stream_batch=False),
            clip,
            tmp_path_factory.mktemp("alone"),
        )
        for steps in (1, 2, 3)
    }
