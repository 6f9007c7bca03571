"""Members of a stage never wait for each other in a circle, and none fails unnoticed."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.records import Recorder
from streamtwin.core.ring import Item, Row
from streamtwin.kernels import sequence as sequences
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime import worker
from streamtwin.runtime.members import Leader, Member
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.pulse import Pulse
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.states import States
from streamtwin.runtime.video import read_frames

TIMESTEPS = (700, 500, 500)


class Wire:
    """Stands for the process group: notes what is called in which order, moves the header only."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.header: torch.Tensor | None = None

    def broadcast(self, x: torch.Tensor, src: int, group: object) -> None:
        self.calls.append(("broadcast", x.dtype, tuple(x.shape), src))
        if x.dtype == torch.int64:
            if self.header is None:
                self.header = x.clone()
            x.copy_(self.header)

    def scatter(self, own: torch.Tensor, shares: object, src: int, group: object) -> None:
        self.calls.append(("scatter", tuple(own.shape), src))

    def gather(self, own: torch.Tensor, shares: object, dst: int, group: object) -> None:
        self.calls.append(("gather", tuple(own.shape), dst))

    def all_gather(self, parts: list[torch.Tensor], x: torch.Tensor, group: object) -> None:
        self.calls.append(("all_gather", tuple(x.shape), len(parts)))
        for part in parts:
            part.copy_(x)

    def all_to_all_single(self, out: torch.Tensor, x: torch.Tensor, group: object) -> None:
        self.calls.append(("all_to_all", tuple(x.shape)))
        out.zero_()

    def batch_isend_irecv(self, ops: list[tuple[object, ...]]) -> list[object]:
        self.calls.append(("batch", *(shape for _, shape, _ in ops)))
        return []


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    names = ("broadcast", "scatter", "gather", "all_gather", "all_to_all_single")
    for name in (*names, "batch_isend_irecv"):
        monkeypatch.setattr(sequences.dist, name, getattr(wire, name))
    monkeypatch.setattr(
        sequences.dist, "P2POp", lambda op, x, peer, group: (op.__name__, tuple(x.shape), peer)
    )
    return wire


@pytest.mark.parametrize("method", ["ulysses", "ring"])
@pytest.mark.parametrize("lane", [0, 1, 2])
def test_leader_and_member_speak_in_the_same_order(method: str, lane: int, wire: Wire) -> None:
    """Collectives of one group pair up by their order: one that differs waits for ever."""
    refresh = {"sink_refresh": "kv_similarity"}
    share = {"parallelism": method, "gpus": 6, "sequence_ranks": 2, "conditioning": refresh}
    plan = make_plan(resolution=[32, 48], sessions=2, batching={"batch": 2}, **share)
    stage = plan.stages[lane]
    # late enough that sinks are compared; session 1 leaves behind this pass
    item = Item(3, (Row(0, 9, 9, 0), Row(0, 8, 8, 1), Row(1, 8, 8, 1)), leaving=(1,))
    said = []
    for rank in range(2):
        ranks = (stage.rank, stage.rank + 1)
        sequence = SequenceGroup(method, rank, 2, 3, ranks, None)  # type: ignore[arg-type]
        kernels = StageKernels(plan, plan.stage_of(stage.rank + rank), sequence=sequence)
        states = States(kernels)
        if rank == 0:
            work = Work(kernels.zeros(3, 1, 16, 4, 6), TIMESTEPS, kernels.zeros(3, 6, 256))
            leader = Leader(sequence, time.monotonic, "cpu")
            leader.call(item, work)
            kernels.run({session: states.of(session) for session in (0, 1)}, item, work)
        else:
            member = Member(states, sequence, time.monotonic, Recorder())
            called = member.wait_call()
            assert called is not None
            assert (called[0], called[1].timesteps) == (item, TIMESTEPS)
            member.forward(*called)
            assert list(states.held) == [0]
        said.append(wire.calls)
        wire.calls = []
    assert len(said[0]) > len(stage.blocks)
    assert sum(call[0] == "all_gather" for call in said[0]) == 3
    assert said[0] == said[1]
    wire.header = None
    leader.dismiss()
    assert member.wait_call() is None


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_what_travels_round_the_ring_is_posted_at_once_by_all(
    size: int, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card's message leaves only when its receiver is there: both must stand in one batch."""
    batches = []
    monkeypatch.setattr(sequences.dist, "batch_isend_irecv", lambda ops: batches.append(ops) or [])
    ranks = tuple(range(4, 4 + size))
    for rank in range(size):
        SequenceGroup("ring", rank, size, 1, ranks, None).pass_on(torch.zeros(3))
    assert len(batches) == size
    sent = {(ranks[m], ops[0][2]) for m, ops in enumerate(batches) if ops[0][0] == "isend"}
    taken = {(ops[1][2], ranks[m]) for m, ops in enumerate(batches) if ops[1][0] == "irecv"}
    assert len(sent) == size
    assert sent == taken


def die(context: RankContext, job: worker.Job, rank: int, how: str) -> None:
    """Run a rank that breaks at its seventh pass, or call to one."""
    turns = iter(range(1000))

    def breaks(act: Callable[..., None]) -> Callable[..., None]:
        def acted(self: object, *arguments: object) -> None:
            if context.rank == rank and next(turns) == 6:
                if how == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ValueError("broken on purpose")
            act(self, *arguments)

        return acted

    Leader.call = breaks(Leader.call)  # type: ignore[method-assign]
    Member.forward = breaks(Member.forward)  # type: ignore[method-assign]
    worker.run_rank(context, job)


@pytest.mark.parametrize(
    ("rank", "how", "cause"),
    [(1, "killed", "SIGKILL"), (2, "killed", "SIGKILL"), (3, "raises", "broken on purpose")],
)
def test_a_member_that_fails_is_named_and_ends_the_run(
    rank: int, how: str, cause: str, tmp_path: Path
) -> None:
    plan = make_plan(resolution=[32, 48], chunks=10, parallelism="ring", gpus=4, sequence_ranks=2)
    clip = read_frames(clip_path(), 32, 48)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", clip.fps, tmp_path)
    failed_s: list[float] = []

    def emitted(_: int, __: object) -> None:
        failed_s[:] = [time.monotonic()]

    with pytest.raises(RunError, match=rf"rank {rank} of 4 failed: [^\n]*{cause}"):
        run_ranks(die, 4, (job, rank, how), on_progress=emitted)
    assert failed_s, "it broke before anything was emitted"
    assert time.monotonic() - failed_s[0] < 30


def hang(context: RankContext, job: worker.Job, rank: int, where: str) -> None:
    """Run a rank that sleeps for ever: within a pass, or before the next one."""
    owner, verb, turn = (SequenceGroup, "attend", 25) if where == "within" else PASS_OF[rank]
    act, turns = getattr(owner, verb), iter(range(10_000))

    def acts(*given: object) -> object:
        done = act(*given)
        if context.rank == rank and next(turns) == turn:
            time.sleep(3600)
        return done

    setattr(owner, verb, acts)
    worker.run_rank(context, job)


PASS_OF = {0: (worker.Station, "forward", 5), 1: (Member, "forward", 5)}


@pytest.mark.parametrize(
    ("rank", "where"), [(1, "within"), (2, "within"), (1, "between"), (0, "between")]
)
def test_the_member_that_hangs_is_named_and_those_who_wait_for_it_are_not(
    rank: int, where: str, tmp_path: Path
) -> None:
    """A leader enters a pass before its members do, and still it is not the one to blame."""
    plan = make_plan(resolution=[32, 48], chunks=10, parallelism="ring", gpus=4, sequence_ranks=2)
    clip = read_frames(clip_path(), 32, 48)
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", clip.fps, tmp_path)
    with pytest.raises(RunError, match=rf"^rank {rank} is stuck: busy in dit of item \d"):
        run_ranks(hang, 4, (job, rank, where), hang_timeout_s=2.0)


def test_a_rank_that_waits_for_its_stage_says_so_and_then_what_it_did_before() -> None:
    pulse = Pulse()
    pulse.busy("dit", 7)
    with pulse.meeting(2):
        assert not pulse.read().works
        assert pulse.read().words == "waits for others of the stage that rank 2 leads"
    assert pulse.read().works
    assert pulse.read().words == "busy in dit of item 7"
    assert pulse.read().beats == 3


@pytest.mark.parametrize("parallelism", ["ulysses", "ring"])
def test_predicted_memory_is_what_a_member_holds(parallelism: str, tmp_path: Path) -> None:
    small = {"resolution": [32, 48], "chunks": 10}
    plan, clip = (
        make_plan(**small, parallelism=parallelism, gpus=2),
        read_frames(clip_path(), 32, 48),
    )
    alone = rank_memory(make_plan(**small), plan.stages[0])
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    for member, info in enumerate(records.info.ranks):
        predicted = rank_memory(plan, plan.stage_of(member))
        for part in ("kv", "cross_kv", "weights"):
            assert predicted[part] == info.memory_bytes[part]
        assert 2 * predicted["kv"] == alone["kv"]
        assert predicted["cross_kv"] == alone["cross_kv"]
        assert predicted["vae"] == pytest.approx(info.memory_bytes["vae"], rel=0.3)
        assert (predicted["vae"] > 0) == (member == 0)
