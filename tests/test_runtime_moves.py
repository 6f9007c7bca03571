"""Blocks that move between real ranks change nothing but the time that things take."""

import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.plan import Plan
from streamtwin.core.policies.rebalance import (
    REBALANCE,
    Hysteresis,
    RebalanceView,
    worth_moving,
)
from streamtwin.core.records import Decision, Recorder, Records
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime import worker
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.spool import spool_path
from streamtwin.runtime.states import weight_bytes
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

SMALL: dict[str, Any] = {"resolution": [32, 48], "chunks": 12}

TWO_SESSIONS: dict[str, Any] = {
    "sessions": 2,
    "visits": [{"prompts": {0: "a", 3: "b"}}, {"join_s": 0.2, "prompts": {0: "c", 5: "d"}}],
    "chunks": 9,
}

CASES = {
    "there and back": (2, {}, {6: [5, 1], 9: [1, 5], 13: [3, 3]}),
    "two in a row, over two ranks": (3, {"stream_batch": False}, {6: [4, 1, 1], 7: [1, 1, 4]}),
    "one rank's blocks all change": (4, {}, {5: [3, 1, 1, 1], 6: [1, 1, 1, 3]}),
    "chunks of two latents": (3, {"chunk_latents": 2}, {5: [1, 4, 1], 9: [4, 1, 1]}),
    "sessions that share passes": (
        2,
        {"sessions": 2, "visits": [{"prompts": {0: "a", 3: "b"}}]},
        {9: [1, 5], 20: [4, 2]},
    ),
    "a session that joins, prompts that change": (
        3,
        {**TWO_SESSIONS, "stream_batch": False},
        {4: [1, 2, 3], 12: [3, 2, 1], 24: [1, 4, 1]},
    ),
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


class Done(NamedTuple):
    """The raw bytes that each session got, what the ranks recorded, and the memory they held."""

    frames: list[np.ndarray]
    recorder: Recorder
    memory: list[dict[str, int]]


def perform(plan: Plan, clip: Clip, folder: Path) -> Done:
    folder.mkdir()
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    results = run_ranks(worker.run_rank, plan.ranks, (job,))
    sessions = range(plan.scenario.workload.sessions)
    return Done(
        [np.fromfile(spool_path(folder, session), np.uint8) for session in sessions],
        Recorder().merge([result.recorder for result in results]),
        [result.memory_bytes for result in results],
    )


def rebalancing(records: Records | Recorder) -> list[Decision]:
    return [d for d in records.decisions if d.family == "rebalance"]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_move_changes_no_bit_and_twins_move_alike(
    case: tuple, clip: Clip, tmp_path: Path
) -> None:
    gpus, changes, schedule = case
    still = make_plan(**{**SMALL, **changes}, gpus=gpus)
    moving = make_plan(**{**SMALL, **changes}, gpus=gpus, partition={"schedule": schedule})
    expected = perform(still, clip, tmp_path / "still")
    found = perform(moving, clip, tmp_path / "moving")
    assert len(found.frames) == len(expected.frames) == still.scenario.workload.sessions
    for frames, other in zip(found.frames, expected.frames, strict=True):
        assert frames.size
        assert np.array_equal(frames, other)
    chose = [d.chose for d in rebalancing(found.recorder)]
    assert chose == ["/".join(map(str, counts)) for counts in schedule.values()]
    if not any(visit.join_s for visit in moving.scenario.workload.visits):
        compare_twins(moving, found, simulate(moving, FlatLatency(), motion_trace(clip, moving)))


def compare_twins(plan: Plan, found: Done, virtual: Records) -> None:
    """Same decisions, same passes in the same order, and the same bytes on the same ranks."""
    chose, would_choose = (
        [(d.policy, d.chunk, dict(d.saw), d.chose) for d in rebalancing(records)]
        for records in (found.recorder, virtual)
    )
    assert chose == would_choose
    for rank in range(plan.ranks):
        did, would = (
            [
                (s.kind, s.item, s.size_bytes)
                for s in records.spans
                if s.rank == rank and (s.kind == "dit" or (s.kind == "move" and s.size_bytes))
            ]
            for records in (found.recorder, virtual)
        )
        assert did == would
        for part in ("kv", "cross_kv"):
            assert found.memory[rank][part] == virtual.info.ranks[rank].memory_bytes[part]


def test_what_was_given_away_is_let_go(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=2, partition={"blocks": [5, 1], "schedule": {6: [1, 5]}})
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", clip.fps, tmp_path)
    held = run_ranks(holding_at_end, 2, (job,))
    after = make_plan(**SMALL, gpus=2, partition={"blocks": [1, 5]})
    for stage, found in zip(after.stages, held, strict=True):
        predicted = rank_memory(after, stage)
        assert found["kv"] == predicted["kv"]
        assert found["cross_kv"] == predicted["cross_kv"]
        assert found["weights"] == weight_bytes(StageKernels(after, stage))
        assert found["sending"] == 0


def holding_at_end(context: RankContext, job: worker.Job) -> dict[str, int]:
    """Run a rank; what it holds just before its session leaves."""
    end, found = worker.States.drop, {}

    def drop(states: worker.States, sessions: Any) -> None:
        if list(sessions):
            found.update(states._bytes())
        end(states, sessions)

    settle = BlockExchange.settle

    def watched(exchange: BlockExchange) -> None:
        settle(exchange)
        found["sending"] = len(exchange._sending)

    worker.States.drop = drop  # type: ignore[method-assign]
    BlockExchange.settle = watched  # type: ignore[method-assign]
    worker.run_rank(context, job)
    return found


def test_a_throttled_rank_is_relieved_and_every_decision_can_be_repeated(
    clip: Clip, tmp_path: Path
) -> None:
    asked = {"policy": "optimal", "blocks": [3, 3], "rebalance": "continuous"}
    plan = make_plan(resolution=[32, 48], chunks=36, gpus=2, slowdown={1: 8.0}, partition=asked)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    decisions = rebalancing(records)
    assert decisions
    assert int(str(decisions[-1].chose).split("/")[1]) < 3
    partition = plan.scenario.deployment.partition
    hysteresis = Hysteresis(partition.horizon_s, partition.factor, partition.margin)
    for decision in decisions:
        view = RebalanceView.seen(decision.saw)
        again = worth_moving(view, REBALANCE[decision.policy](view), hysteresis)
        assert "/".join(map(str, again)) == decision.chose
    # what rank 0 saw of the others is what they wrote down themselves
    first = RebalanceView.seen(decisions[0].saw)
    seconds = [s.seconds for s in records.spans if s.rank == 1 and s.kind == "dit"]
    assert min(seconds) <= first.dit_s[1] <= max(seconds)
    assert first.vae_s[1] > 0


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
