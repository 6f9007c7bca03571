"""What a camera does to its frames: order is kept, losses are waited for, nothing comes in a pause."""

from itertools import pairwise
from math import log
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.camera import ReleaseClock
from streamtwin.core.chunks import ChunkShape
from streamtwin.core.frame_luck import FrameLuck, lost_before, offset_s
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.pauses import Pauses
from streamtwin.core.sessions import clock_of
from streamtwin.core.source import Camera
from streamtwin.sim.simulate import simulate

SHAPE = ChunkShape(1)
cameras = st.builds(Camera, jitter_s=st.floats(0, 0.5), loss=st.floats(0, 0.9))
phases = st.lists(st.floats(0.01, 3), max_size=8).map(
    lambda lengths: [
        (sum(lengths[: 2 * i + 1]), sum(lengths[: 2 * i + 2])) for i in range(len(lengths) // 2)
    ]
)


def clock_with(camera: Camera, idle: list[tuple[float, float]], fps: float = 16.0) -> ReleaseClock:
    luck = FrameLuck(camera, SHAPE, fps, 4, 0, 0)
    return ReleaseClock(fps, SHAPE, fps, 1.5, Pauses.of(idle), luck)


@given(cameras, phases)
def test_chunks_come_in_order_and_never_before_their_frames(
    camera: Camera, idle: list[tuple[float, float]]
) -> None:
    clock = clock_with(camera, idle)
    plain = ReleaseClock(16.0, SHAPE, 16.0, 1.5)
    released = [clock.released_s(chunk) for chunk in range(40)]
    assert all(before < after for before, after in pairwise(released))
    for chunk, at_s in enumerate(released):
        assert at_s >= plain.released_s(chunk) - 0.5 / 16 - 1e-9
    assert released == [clock.released_s(chunk) for chunk in range(40)]


@given(phases)
def test_no_frame_comes_in_a_pause_and_none_is_lost_by_it(idle: list[tuple[float, float]]) -> None:
    clock, plain = clock_with(Camera(), idle), ReleaseClock(16.0, SHAPE, 16.0, 1.5)
    for chunk in range(40):
        since_s = clock.released_s(chunk) - 1.5
        # both ends are sums of rounded numbers
        assert not any(begin + 1e-9 < since_s < end - 1e-9 for begin, end in idle)
        gone_s = sum(end - begin for begin, end in idle if begin < since_s - 1e-9)
        assert since_s - gone_s == pytest.approx(plain.released_s(chunk) - 1.5, abs=1e-8)
        assert clock.idle_s(chunk) == pytest.approx(gone_s, abs=1e-8)


@pytest.mark.parametrize("loss", [0.05, 0.3, 0.8])
def test_losses_are_geometric(loss: float) -> None:
    """Before each frame that comes, loss / (1 - loss) are lost on average."""
    luck = FrameLuck(Camera(loss=loss), SHAPE, 16.0, 0, 0, 0)
    chunks = 4000
    assert luck.lost(chunks - 1) / SHAPE.last_frame(chunks) == pytest.approx(
        loss / (1 - loss), rel=0.1
    )
    assert lost_before(1.0, loss) == 0
    assert lost_before(loss**2 * 0.999, loss) == 2


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_a_greater_loss_loses_what_a_smaller_one_loses_and_leaves_the_jitter(
    one: float, other: float
) -> None:
    few, many = (
        FrameLuck(Camera(loss=loss, jitter_s=0.01), SHAPE, 16.0, 0, 0, 3)
        for loss in sorted([one, other])
    )
    for chunk in range(20):
        assert few.lost(chunk) <= many.lost(chunk)
        assert few.late_s(chunk) == many.late_s(chunk)


@pytest.mark.parametrize("std_s", [0.002, 0.05])
def test_jitter_is_a_normal_cut_at_half_a_frame(std_s: float) -> None:
    """Variance of a normal cut at +- a: s^2 (1 - 2 a/s phi(a/s) / (2 Phi(a/s) - 1))."""
    most_s = 0.5 / 16
    units = (np.arange(20_000) + 0.5) / 20_000
    offsets = np.array([offset_s(unit, std_s, most_s) for unit in units])
    assert np.abs(offsets).max() <= most_s
    assert offsets.mean() == pytest.approx(0, abs=1e-9)
    cut, normal = most_s / std_s, NormalDist()
    inside = 2 * normal.cdf(cut) - 1
    expected = std_s**2 * (1 - 2 * cut * normal.pdf(cut) / inside)
    assert offsets.std() == pytest.approx(expected**0.5, rel=0.01)


def test_cameras_of_two_sessions_and_of_two_runs_differ() -> None:
    camera = {"jitter_s": 0.01, "loss": 0.1}
    plan = make_plan(source_fps=16, sessions=2, chunks=9, camera=camera)
    one, other = (clock_of(plan.scenario, session) for session in range(2))
    assert one.released_s(8) != other.released_s(8)
    fast = FlatLatency(1e-4, 1e-4, 1e-4, 1e-4)
    runs = [simulate(plan, fast, noise=False, run=run) for run in (0, 0, 1)]
    released = [[chunk.released_s for chunk in run.chunks] for run in runs]
    assert released[0] == released[1]
    assert released[0] != released[2]


def test_a_session_that_pauses_is_not_blamed_for_it() -> None:
    """The viewer of a camera that is off misses nothing: no stall, the full rate, the next chunk in time."""
    idle = [(2.0, 5.0), (6.0, 7.5)]
    plan = make_plan(gpus=1, steps=1, source_fps=16, chunks=30, visits=[{"idle": idle}], sessions=2)
    metrics = compute_metrics(simulate(plan, FlatLatency(block_s=0.005)))
    paused, other = metrics["sessions"]
    for one in (paused, other):
        assert one["fps"] == pytest.approx(16, rel=0.02)
        assert one["viewer"]["stalls"] == 0 or one["viewer"]["stall_s"] < 0.1
    assert paused["viewer"]["slack_s"] > -0.1


def test_a_lane_of_a_stream_batch_keeps_its_chunks_while_nobody_sends() -> None:
    """With N = 2 a lane moves when a chunk comes: the last one before a pause is out after it."""
    shown = {}
    for stream_batch in (True, False):
        plan = make_plan(
            gpus=1,
            source_fps=16,
            chunks=12,
            stream_batch=stream_batch,
            visits=[{"idle": [(1.1, 9)]}],
        )
        records = simulate(plan, FlatLatency(block_s=0.002))
        shown[stream_batch] = [chunk.emitted_s for chunk in records.chunks]
    assert shown[True][3] > 9
    assert shown[False][3] < 1.5


def test_logarithms_of_losses_are_finite() -> None:
    assert lost_before(5e-324, 0.95) == int(log(5e-324) / log(0.95))
