"""Is the shipped clip what its scenarios count on, and does its script still make it?"""

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from streamtwin.core.motion import chunk_motion
from streamtwin.runtime.video import Clip, FrameSource, read_frames

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "src" / "streamtwin" / "scenarios" / "clip.mp4"
CHUNKS_PER_SECTION = 10


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(CLIP, 480, 832)


@pytest.fixture(scope="module")
def make_clip() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_clip", ROOT / "scripts" / "make_clip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def motion(clip: Clip) -> np.ndarray:
    """Largest RMS difference of consecutive frames in each one-latent chunk, [4 sections, 10]."""
    frames = clip.frames[:, ::2, ::2]
    chunks = [frames[4 * chunk : 4 * chunk + 5] for chunk in range(4 * CHUNKS_PER_SECTION)]
    return np.array([max(chunk_motion(chunk)) for chunk in chunks]).reshape(4, CHUNKS_PER_SECTION)


def test_it_is_ten_seconds_of_480p_in_400_kb(clip: Clip) -> None:
    assert clip.frames.shape == (161, 480, 832, 3)
    assert (clip.fps, clip.corrupt) == (16.0, 0)
    assert CLIP.stat().st_size < 400_000


def test_it_has_whole_chunks(clip: Clip) -> None:
    source = FrameSource(clip, 1)
    assert source.indices(4 * CHUNKS_PER_SECTION - 1)[-1] == len(clip.frames) - 1


def test_fast_chunks_move_three_times_as_much_as_slow_ones(motion: np.ndarray) -> None:
    slow, fast = motion[[0, 2]], motion[[1, 3]]
    assert fast.min() >= 3 * slow.max()
    assert slow.min() > 0.005  # slow, and yet not a still picture


def test_no_step_is_a_cut(clip: Clip) -> None:
    # Frames on either side of a cut have nothing in common: twice the distance of these.
    levels = clip.frames[:, ::4, ::4].astype(np.float32)
    steps = np.abs(np.diff(levels, axis=0)).mean((1, 2, 3))
    strangers = np.abs(levels[:80] - levels[80:160]).mean((1, 2, 3))
    assert steps.max() < strangers.mean()


def test_frames_are_full_of_texture(clip: Clip) -> None:
    assert (clip.frames[:, ::4, ::4].std((1, 2)).mean(-1) > 20).all()


def test_the_script_still_renders_the_shipped_frames(clip: Clip, make_clip: ModuleType) -> None:
    scene = make_clip.Scene()
    for index in [0, 40, 41, 63, 80, 81, 120, 121, 140, 160]:
        rendered = scene.render(index).astype(float)
        assert np.abs(rendered - clip.frames[index]).mean() < 8, index  # what coding takes away


def test_the_same_script_writes_the_same_bytes(
    tmp_path: Path, make_clip: ModuleType, clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip.NUM_FRAMES = 9  # the whole takes too long to render for a test
    outs = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for out in outs:
        assert make_clip.main([str(out)]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert "9 frames" in capsys.readouterr().out
    again = read_frames(outs[0], 480, 832).frames
    assert np.abs(again.astype(float) - clip.frames[:9]).mean() < 4


def test_the_camera_and_the_ball_never_jump(make_clip: ModuleType) -> None:
    times = np.arange(0, 160, 0.05)
    for a, b in itertools.pairwise([make_clip.camera(t) for t in times]):
        assert np.hypot(b.x - a.x, b.y - a.y) < 8
        assert abs(b.scale - a.scale) < 0.01
        assert abs(b.angle - a.angle) < 0.02
    places = [make_clip.ball_place(t)[:2] for t in times[times > 120]]
    assert max(np.hypot(d - b, c - a) for (a, b), (c, d) in itertools.pairwise(places)) < 8
