"""A rank that hangs is told from one that waits, named with its stack, and ended in bounded time."""

import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from timeit import timeit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.library import clip_path
from streamtwin.runtime import worker
from streamtwin.runtime.hang import Watch, judge
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.pulse import ACTIVITIES, Beat, Pulse, make_pulses, open_pulse, unpack_beat
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import Clip, read_frames
from test_runtime_failures import is_running

TIMEOUT_S = 2.0
SMALL = {"resolution": [32, 48], "chunks": 10}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def sleep_for_ever() -> None:
    while True:
        time.sleep(60)


def compute_for_ever() -> None:
    while True:
        pass


WAYS: dict[str, Callable[[], None]] = {
    "sleeps": sleep_for_ever,
    "computes": compute_for_ever,
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def hang_at(context: RankContext, job: worker.Job, rank: int, verb: str, how: str) -> None:
    """Run a rank that hangs in the middle of the stream; its first progress is its pid."""
    context.progress(os.getpid())
    real = getattr(worker.Station, verb)
    turns = iter(range(100))

    def hang(station: worker.Station, *given: object) -> object:
        done = real(station, *given)
        if context.rank == rank and next(turns) == 4:
            WAYS[how]()
        return done

    setattr(worker.Station, verb, hang)
    worker.run_rank(context, job)


@pytest.mark.parametrize(
    ("rank", "verb", "how", "said"),
    [
        (0, "forward", "sleeps", r"busy in dit of item \d"),
        (1, "forward", "computes", r"busy in dit of item \d"),
        (2, "_emit", "sleeps", r"busy in decode of item \d"),
        (1, "receive", "sleeps", "in its own work, between services"),
        (1, "forward", "stopped", r"stopped by a signal \(state T\)"),
        (0, "send", "stopped", r"stopped by a signal \(state T\)"),
    ],
)
def test_the_rank_that_hangs_is_named_and_its_neighbours_are_not(
    rank: int, verb: str, how: str, said: str, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, gpus=3)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path)
    pids: dict[int, int] = {}
    began_s: dict[int, float] = {}

    def note(rank: int, value: int) -> None:
        pids.setdefault(rank, value)
        began_s[rank] = time.monotonic()

    with pytest.raises(RunError, match=rf"^rank {rank} is stuck: [^\n]*{said}") as caught:
        run_ranks(hang_at, 3, (job, rank, verb, how), hang_timeout_s=TIMEOUT_S, on_progress=note)
    assert time.monotonic() - max(began_s.values()) < TIMEOUT_S + 10
    assert (f"in {WAYS[how].__name__}" in str(caught.value)) == (how != "stopped")
    assert len(pids) == 3
    assert not [pid for pid in pids.values() if is_running(pid)]


def forget_an_item(context: RankContext, job: worker.Job) -> None:
    """Run a ring in which rank 1 loses an item: from then on everybody waits."""
    real = worker.Station.send
    turns = iter(range(100))

    def send(station: worker.Station, item: object) -> None:
        if context.rank != 1 or next(turns) != 4:
            real(station, item)  # type: ignore[arg-type]

    worker.Station.send = send  # type: ignore[method-assign,assignment]
    worker.run_rank(context, job)


def test_when_all_wait_the_message_says_for_whom(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=2)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path)
    with pytest.raises(RunError, match="all ranks wait for each other") as caught:
        run_ranks(forget_an_item, 2, (job,), hang_timeout_s=TIMEOUT_S)
    assert "rank 0 waits for an item from rank 1" in str(caught.value)
    assert "rank 1 waits for an item from rank 0" in str(caught.value)


def hang_alone(context: RankContext, job: worker.Job) -> None:
    hang_at(context, job, 0, "forward", "sleeps")


def test_what_was_emitted_before_a_hang_is_kept(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "run_rank", hang_alone)
    out = tmp_path / "kept.mp4"
    with pytest.raises(RunError, match=r"(?s)rank 0 is stuck.*frames emitted before"):
        run_pipeline(make_plan(**SMALL), clip, out, hang_timeout_s=TIMEOUT_S)
    assert len(read_frames(out, 32, 48).frames) >= 5


def test_waiting_for_a_slow_input_is_no_hang(clip: Clip, tmp_path: Path) -> None:
    """Chunks come 2.7 s apart, over the timeout."""
    plan = make_plan(resolution=[32, 48], chunks=3, gpus=2, source_fps=1.5)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4", hang_timeout_s=TIMEOUT_S)
    assert done.frames == 13


def slow_once(context: RankContext, job: worker.Job) -> None:
    """Run a rank of which one pass, of a few ms, is slowed down to a second or more."""
    real = worker.Station.forward
    turns = iter(range(100))

    def forward(station: worker.Station, item: object) -> None:
        station.slower = 300.0 if next(turns) == 2 else 1.0
        real(station, item)  # type: ignore[arg-type]
        station.slower = 1.0

    worker.Station.forward = forward  # type: ignore[method-assign,assignment]
    worker.run_rank(context, job)


def test_a_rank_that_is_slowed_down_on_purpose_is_no_hang(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(resolution=[32, 48], chunks=3)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", 16.0, tmp_path)
    began_s = time.monotonic()
    run_ranks(slow_once, 1, (job,), hang_timeout_s=0.6)
    assert time.monotonic() - began_s > 1.2


def test_work_that_lingers_is_blamed_by_its_name_once_it_is_overdue() -> None:
    pulse, seen = Pulse(), []
    pulse.busy("dit", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: seen.append(pulse.read()))
        pulse.lingers(5.0)
    assert judge(seen, [5.9], 1.0) is None
    verdict = judge(seen, [6.1], 1.0)
    assert verdict is not None
    assert verdict.words.startswith("rank 0 is stuck: busy in dit of item 3")
    assert judge([pulse.read()], [1.1], 1.0) is not None


# --- verdicts ------------------------------------------------------------------------------------

beats = st.builds(
    Beat,
    beats=st.just(1),
    activity=st.sampled_from(ACTIVITIES),
    item=st.integers(0, 9),
    peer=st.integers(0, 3),
    lasts_s=st.just(0.0),
)
rings = st.lists(st.tuples(beats, st.floats(0, 100)), min_size=1, max_size=5)


@given(rings, st.floats(0.1, 99))
def test_who_waits_is_blamed_only_if_all_wait(
    ring: list[tuple[Beat, float]], timeout_s: float
) -> None:
    all_beats, ages_s = zip(*ring, strict=True)
    verdict = judge(all_beats, ages_s, timeout_s)
    left = [rank for rank, beat in enumerate(all_beats) if beat.activity != "over"]
    guilty = [r for r in left if all_beats[r].works and ages_s[r] > timeout_s]
    if guilty:
        assert verdict is not None
        (named,) = verdict.ranks
        assert named in guilty
        assert ages_s[named] == max(ages_s[rank] for rank in guilty)
    elif left and all(not all_beats[r].works and ages_s[r] > timeout_s for r in left):
        assert verdict is not None
        assert verdict.ranks == tuple(left)
    else:
        assert verdict is None


@given(rings, st.floats(0.1, 99), st.integers(0, 4))
def test_a_process_that_does_not_run_is_to_blame_even_if_it_waits(
    ring: list[tuple[Beat, float]], timeout_s: float, rank: int
) -> None:
    all_beats, ages_s = zip(*ring, strict=True)
    verdict = judge(all_beats, ages_s, timeout_s, {rank: "its process is stopped"})
    if rank < len(ring) and ages_s[rank] > timeout_s and all_beats[rank].activity != "over":
        assert verdict is not None
        assert verdict.ranks == (rank,)


def test_a_watcher_that_was_suspended_blames_nobody_for_the_gap() -> None:
    now_s = iter([0.0, 1000.0, 1000.5, 1001.0])
    watch = Watch(lambda: [Beat(1, "dit", 3, -1, 0.0)], 10.0, lambda: next(now_s))
    assert [watch.look() for _ in range(4)] == [None] * 4


def test_a_rank_without_a_beat_is_named_within_a_tenth_of_the_timeout() -> None:
    now_s = 0.0
    watch = Watch(lambda: [Beat(1, "dit", 3, -1, 0.0)], 10.0, lambda: now_s)
    while watch.look() is None:
        now_s += watch.every_s
    assert 10.0 < now_s <= 11.5


def test_a_beat_is_read_by_another_process_mapping(tmp_path: Path) -> None:
    shared = make_pulses(tmp_path / "pulse", 3)
    open_pulse(tmp_path / "pulse", 1).busy("decode", 7)
    assert [pulse.read().words for pulse in shared] == [
        *("in its own work, at the start", "busy in decode of item 7"),
        "in its own work, at the start",
    ]
    assert unpack_beat(shared[1].raw()) == shared[1].read()


def test_a_beat_costs_nothing_beside_a_micro_step() -> None:
    """A micro-step of `tiny` takes some 10 ms and beats six times; the limit is a thousandth."""
    pulse = Pulse(mmap.mmap(-1, 4096))
    beat_s = min(timeit(lambda: pulse.busy("dit", 1), number=1000) for _ in range(30)) / 1000
    assert 6 * beat_s < 1e-5
