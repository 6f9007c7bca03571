"""On the real pipeline: a session gets the same video alone and beside others, and leaves nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.decision_log import first_difference
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.plan import Plan
from streamtwin.core.records import SERVICES
from streamtwin.core.ring import Row
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.spool import spool_path
from streamtwin.runtime.states import States
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

SMALL = {"resolution": [32, 48], "chunks": 7}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def frames_of(plan: Plan, clip: Clip, folder: Path) -> list[np.ndarray]:
    """Raw frames that each session of *plan* emitted."""
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    run_ranks(worker.run_rank, plan.ranks, (job,))
    sessions = range(plan.scenario.workload.sessions)
    spools = [np.fromfile(spool_path(folder, session), np.uint8) for session in sessions]
    return [spool.reshape(-1, 32, 48, 3) for spool in spools]


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """What the sessions 0, 1 and 2 emit when nobody else is there."""
    return [
        frames_of(
            make_plan(**SMALL, stream_batch=False, visits=[{"noise_key": session}]),
            clip,
            tmp_path_factory.mktemp("alone"),
        )[0]
        for session in range(3)
    ]


@pytest.mark.parametrize(
    ("gpus", "lanes"), [(1, "time"), (2, "time"), (2, "sessions"), (3, "time")]
)
def test_a_session_emits_the_same_bits_alone_and_beside_others(
    gpus: int, lanes: str, clip: Clip, tmp_path: Path, alone: Sequence[np.ndarray]
) -> None:
    """Sessions that come and go: the second joins late, the third leaves early."""
    others = [{}, {"join_s": 0.3}, {"chunks": 4}]
    plan = make_plan(**SMALL, gpus=gpus, sessions=3, visits=others, stream_batch=False, lanes=lanes)
    done = frames_of(plan, clip, tmp_path)
    assert [len(frames) for frames in done] == [29, 29, 17]
    for frames, expected in zip(done, alone, strict=True):
        assert np.array_equal(frames, expected[: len(frames)])


@pytest.mark.parametrize(("gpus", "batch"), [(1, 3), (2, 2)])
def test_rows_of_several_sessions_in_one_pass_differ_by_rounding_only(
    gpus: int, batch: int, clip: Clip, tmp_path: Path, alone: Sequence[np.ndarray]
) -> None:
    plan = make_plan(**SMALL, gpus=gpus, sessions=3, batching={"batch": batch})
    for frames, expected in zip(frames_of(plan, clip, tmp_path), alone, strict=True):
        assert frames.shape == expected.shape
        # a pixel that lies between two levels may be rounded to either
        assert np.abs(frames.astype(int) - expected).max() <= 1


def test_sessions_differ_so_that_a_mixed_up_one_is_seen(alone: Sequence[np.ndarray]) -> None:
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(alone[one].astype(int) - alone[other]).max() > 8


@pytest.mark.parametrize(("gpus", "stream_batch"), [(1, True), (2, True), (2, False)])
def test_a_change_of_prompt_takes_effect_at_its_chunk(
    gpus: int, stream_batch: bool, clip: Clip, tmp_path: Path
) -> None:
    shape = {**SMALL, "gpus": gpus, "stream_batch": stream_batch}
    prompts = {"old": {0: "rain"}, "new": {0: "rain", 4: "snow"}, "back": {0: "rain", 5: "rain"}}
    video = {}
    for name, texts in prompts.items():
        folder = tmp_path / name
        folder.mkdir()
        video[name] = frames_of(make_plan(**shape, visits=[{"prompts": texts}]), clip, folder)[0]
    before = 1 + 4 * 4
    assert np.array_equal(video["new"][:before], video["old"][:before])
    for chunk in range(4, 7):
        part = slice(1 + 4 * chunk, 1 + 4 * (chunk + 1))
        assert np.abs(video["new"][part].astype(int) - video["old"][part]).max() > 2
    assert np.array_equal(video["back"], video["old"])


def test_a_prompt_is_read_once_and_forgotten_when_no_chunk_needs_it() -> None:
    plan = make_plan(**SMALL, steps=2, visits=[{"prompts": {0: "rain", 3: "snow"}}])
    kernels = StageKernels(plan, plan.stages[0])
    read, embeddings = kernels.dit.read_text, []
    kernels.dit.read_text = lambda context: embeddings.append(context) or read(context)
    state = kernels.new_session(0)
    held = []
    for chunk in range(6):
        for step in range(2):
            kernels._text(state, Row(0, chunk, chunk, step))
            held.append(set(state.texts))
    assert len(embeddings) == 2
    assert held[:6] == [{"rain"}] * 6
    assert held[6:] == [{"rain", "snow"}] + [{"snow"}] * 5


def test_twins_serve_several_sessions_in_the_same_order(clip: Clip, tmp_path: Path) -> None:
    for number, changes in enumerate(
        [
            {"gpus": 2, "sessions": 2, "lanes": "sessions"},
            {"gpus": 2, "sessions": 3, "batching": {"batch": 2}, "visits": [{}, {"chunks": 3}]},
            {"gpus": 1, "sessions": 2, "stream_batch": False, "batching": {"batch": 2}},
        ]
    ):
        plan = make_plan(**SMALL, **changes)
        real = run_pipeline(plan, clip, tmp_path / f"{number}.mp4").records
        virtual = simulate(plan, FlatLatency(), motion_trace(clip, plan))
        for rank in range(plan.ranks):
            did, would = (
                [
                    (s.kind, s.session, s.chunk, s.item, s.rows, s.size_bytes)
                    for s in records.spans
                    if s.rank == rank and s.kind in (*SERVICES, "hop")
                ]
                for records in (real, virtual)
            )
            assert did == would
        # an input that always waits is released when rank 0 looks: an instant of each executor's own
        assert first_difference(virtual.decisions, real.decisions, seconds=False) is None


def test_each_session_has_a_video(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, sessions=2, visits=[{}, {"chunks": 5}])
    done = run_pipeline(plan, clip, tmp_path / "out.mp4")
    assert done.frames_by_video == {tmp_path / "out-0.mp4": 29, tmp_path / "out-1.mp4": 21}
    for video, frames in done.frames_by_video.items():
        assert len(read_frames(video, 32, 48).frames) == frames


def test_memory_of_several_sessions_is_what_was_predicted(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=2, sessions=2)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    for stage, info in zip(plan.stages, records.info.ranks, strict=True):
        predicted = rank_memory(plan, stage)
        for part in ("kv", "cross_kv"):
            assert predicted[part] == info.memory_bytes[part]
        assert predicted["vae"] == pytest.approx(info.memory_bytes["vae"], rel=0.3)


def leftovers(context: RankContext, job: worker.Job) -> list[int]:
    """Run a rank and say which sessions it still holds at the end."""
    made: list[States] = []
    begin = States.__init__

    def noted(states: States, kernels: StageKernels) -> None:
        begin(states, kernels)
        made.append(states)

    States.__init__ = noted  # type: ignore[method-assign]
    worker.run_rank(context, job)
    return sorted(made[0].held)


def test_a_session_that_left_is_held_nowhere(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=3, sessions=3, visits=[{"chunks": 4}, {"join_s": 0.2}])
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", clip.fps, tmp_path)
    assert run_ranks(leftovers, 3, (job,)) == [[], [], []]
