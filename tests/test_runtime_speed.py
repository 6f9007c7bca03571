"""Faster ways of running a stage run the same stream, and are refused where they are not there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from builders import make_plan, stream
from streamtwin.core.errors import UserError
from streamtwin.core.library import clip_path
from streamtwin.core.limits import LONG_START_S, START_S
from streamtwin.kernels.compiled import compiled_parts
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.devices import check_speed
from streamtwin.runtime.run import run_pipeline, start_timeout_s
from streamtwin.runtime.video import read_frames
from streamtwin.runtime.worker import warm_up

SMALL = {"resolution": [32, 48], "chunks": 8}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"compile": True},
            marks=pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
        ),
        {"attention": "math"},
    ],
    ids=["compiled", "math"],
)
def test_another_way_of_running_shows_the_same_video(changes, tmp_path: Path) -> None:
    clip = read_frames(clip_path(), 32, 48)
    videos = []
    for way in ({}, changes):
        folder = tmp_path / str(len(videos))
        done = run_pipeline(make_plan(**SMALL, gpus=2, **way), clip, folder / "out.mp4")
        videos.append(read_frames(done.video, 32, 48).frames.astype(float))
    assert videos[0].shape == videos[1].shape == (33, 32, 48, 3)
    assert np.abs(videos[0] - videos[1]).mean() < 0.5
    assert np.ptp(videos[0]) > 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cuda_graph": True}, r"deployment\.cuda_graph = true needs --device cuda"),
        (
            {"attention": "fa3"},
            r"deployment\.attention: attention 'fa3' is not there on cpu in float32: ",
        ),
    ],
)
def test_what_a_device_has_not_is_refused_before_anything_starts(
    changes, message: str, tmp_path: Path
) -> None:
    clip = read_frames(clip_path(), 32, 48)
    with pytest.raises(UserError, match=message):
        run_pipeline(make_plan(**SMALL, **changes), clip, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["ulysses", "ring"])
def test_recordings_of_shared_passes_are_refused(method: str) -> None:
    split = {"gpus": 2, "parallelism": method}
    check_speed(make_plan(**split).scenario.deployment, "cuda")
    check_speed(make_plan(gpus=2, cuda_graph=True).scenario.deployment, "cuda")
    with pytest.raises(UserError, match=rf"cuda_graph = true with 2 ranks a stage .*= {method}"):
        check_speed(make_plan(**split, cuda_graph=True).scenario.deployment, "cuda")


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [({}, START_S), ({"compile": True}, LONG_START_S), ({"cuda_graph": True}, LONG_START_S)],
)
def test_ranks_that_compile_or_record_get_time_for_it(changes, seconds: float) -> None:
    assert start_timeout_s(make_plan(**changes)) == seconds


@pytest.mark.parametrize("batch", [1, 2])
def test_nothing_is_compiled_under_the_clock(batch: int) -> None:
    """A stream that begins has fewer rows than later on: each number is met in the warm-up."""
    torch._dynamo.reset()
    plan = make_plan(**SMALL, compile=True, sessions=2, batching={"batch": batch})
    kernels = StageKernels(plan, plan.stages[0])
    counter = CompileCounterWithBackend("eager")
    kernels.dit.parts = compiled_parts(counter)
    warm_up(kernels)
    made = counter.frame_count
    # three parts of a block for the first chunk, and for each number of rows that follows
    assert made == 3 * (1 + 2 * batch)
    states = {session: kernels.new_session(session) for session in range(2)}
    model, size = plan.model, plan.scenario.size
    for item in stream(plan, 12):
        rows, latents = len(item.rows), plan.scenario.shape.latents_of(item.rows[0].ordinal)
        noisy = kernels.zeros(rows, latents, model.latent_channels, *size.latent)
        kernels.run(states, item, Work(noisy, (700,) * rows))
    assert counter.frame_count == made
    torch._dynamo.reset()
