"""Blocks that move between real ranks change nothing but the time that things take."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.moves import block_bytes
from streamtwin.core.plan import Plan
from streamtwin.core.policies.rebalance import (
    REBALANCE,
    Hysteresis,
    RebalanceView,
    worth_moving,
)
from streamtwin.core.records import Decision, Records
from streamtwin.runtime import worker
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.spool import spool_path
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
    "sessions that share passes": (2, {"sessions": 2}, {7: [1, 5], 20: [4, 2]}),
    "a session that joins, prompts that change": (
        3,
        {**TWO_SESSIONS, "stream_batch": False},
        {4: [1, 2, 3], 12: [3, 2, 1], 24: [1, 4, 1]},
    ),
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def emitted(plan: Plan, clip: Clip, folder: Path) -> list[np.ndarray]:
    """The raw bytes that each session got."""
    folder.mkdir()
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    run_ranks(worker.run_rank, plan.ranks, (job,))
    sessions = range(plan.scenario.workload.sessions)
    return [np.fromfile(spool_path(folder, session), np.uint8) for session in sessions]


def rebalancing(records: Records) -> list[Decision]:
    return [d for d in records.decisions if d.family == "rebalance"]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_move_changes_no_bit_of_the_output(case: tuple, clip: Clip, tmp_path: Path) -> None:
    gpus, changes, schedule = case
    still = make_plan(**{**SMALL, **changes}, gpus=gpus)
    moving = make_plan(**{**SMALL, **changes}, gpus=gpus, partition={"schedule": schedule})
    expected = emitted(still, clip, tmp_path / "still")
    found = emitted(moving, clip, tmp_path / "moving")
    assert len(found) == len(expected) == still.scenario.workload.sessions
    for frames, other in zip(found, expected, strict=True):
        assert frames.size
        assert np.array_equal(frames, other)


@pytest.mark.parametrize("case", [CASES["two in a row, over two ranks"]])
def test_twins_move_the_same_blocks_behind_the_same_items(
    case: tuple, clip: Clip, tmp_path: Path
) -> None:
    gpus, changes, schedule = case
    plan = make_plan(**{**SMALL, **changes}, gpus=gpus, partition={"schedule": schedule})
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    virtual = simulate(plan, FlatLatency(), motion_trace(clip, plan))
    chose, would_choose = (
        [(d.policy, d.chunk, dict(d.saw), d.chose) for d in rebalancing(records)]
        for records in (real, virtual)
    )
    assert chose == would_choose
    assert [c[-1] for c in chose] == ["4/1/1", "1/1/4"]
    for rank in range(gpus):
        did, would = (
            [
                (s.kind, s.item, s.size_bytes)
                for s in records.spans
                if s.rank == rank and (s.kind == "dit" or (s.kind == "move" and s.size_bytes))
            ]
            for records in (real, virtual)
        )
        assert did == would
    assert real.info.ranks[0].memory_bytes["kv"] == virtual.info.ranks[0].memory_bytes["kv"]
    moved = [s for s in real.spans if s.kind == "move" and s.size_bytes]
    assert all(s.size_bytes % block_bytes(plan, 1, 1) == 0 for s in moved)


def test_what_was_given_away_is_let_go(clip: Clip, tmp_path: Path) -> None:
    """Where a rank only ever loses blocks, it holds at last what its last stage needs."""
    plan = make_plan(**SMALL, gpus=2, partition={"blocks": [5, 1], "schedule": {6: [1, 5]}})
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", clip.fps, tmp_path)
    held = run_ranks(holding_at_end, 2, (job,))
    for stage, found in zip(
        make_plan(gpus=2, partition={"blocks": [1, 5]}).stages, held, strict=True
    ):
        predicted = rank_memory(plan, stage)
        assert found["kv"] == predicted["kv"]
        assert found["cross_kv"] == predicted["cross_kv"]
        assert found["weights"] == pytest.approx(predicted["weights"], rel=0.05)
        assert found["sending"] == 0


def holding_at_end(context: RankContext, job: worker.Job) -> dict[str, int]:
    """Run a rank; what it holds just before its session leaves."""
    end, found = worker.States.drop, {}

    def drop(states: worker.States, sessions: Any) -> None:
        if list(sessions):
            found.update(states._bytes())
        end(states, sessions)

    close = BlockExchange.wait_taken

    def wait_taken(exchange: BlockExchange) -> None:
        close(exchange)
        found["sending"] = len(exchange._sending)

    worker.States.drop = drop  # type: ignore[method-assign]
    BlockExchange.wait_taken = wait_taken  # type: ignore[method-assign]
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


@pytest.mark.parametrize(("rank", "where"), [(1, "_give"), (0, "_get"), (2, "_enter")])
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
