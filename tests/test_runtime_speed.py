"""Faster ways of running a stage run the same stream."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from builders import make_plan
from streamtwin.core.errors import UserError
from streamtwin.core.library import clip_path
from streamtwin.runtime.devices import rehearses
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import read_frames

SMALL = {"resolution": [32, 48], "chunks": 8}


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_pipeline_shows_the_same_video(tmp_path: Path) -> None:
    clip = read_frames(clip_path(), 32, 48)
    videos = []
    for compiled in (False, True):
        done = run_pipeline(
            make_plan(**SMALL, gpus=2, compile=compiled), clip, tmp_path / f"{compiled}.mp4"
        )
        videos.append(read_frames(done.video, 32, 48).frames.astype(float))
    assert videos[0].shape == videos[1].shape == (33, 32, 48, 3)
    assert np.abs(videos[0] - videos[1]).mean() < 0.5
    assert np.ptp(videos[0]) > 50


def test_graphs_are_refused_where_there_is_no_card(tmp_path: Path) -> None:
    clip = read_frames(clip_path(), 32, 48)
    with pytest.raises(UserError, match=r"deployment\.cuda_graph = true needs --device cuda"):
        run_pipeline(make_plan(**SMALL, cuda_graph=True), clip, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "device", "expected"),
    [({}, "cpu", False), ({"compile": True}, "cpu", True), ({}, "cuda:0", True)],
)
def test_what_costs_more_at_first_is_rehearsed(changes, device, expected) -> None:
    assert rehearses(make_plan(**changes).scenario.deployment, device) is expected
