"""Shared passes in both executors: the same exchanges, and the same spans of the same ranks."""

import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from deployment_cases import RowLatency

from builders import make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.ops import Collective
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.core.records import WAITS
from streamtwin.core.ring import Item, Row
from streamtwin.core.run_info import run_info
from streamtwin.core.shared_pass import services
from streamtwin.kernels import sequence as sequences
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.members import Leader
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.states import States
from streamtwin.runtime.video import read_frames
from streamtwin.sim.simulate import simulate


class Counted:
    """Stands for the process group, and counts the bytes that a member gives in each call."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, int]] = Counter()

    def broadcast(self, x: torch.Tensor, src: int, group: object) -> None:
        self.calls["broadcast", x.nbytes] += 1

    def scatter(self, own: torch.Tensor, shares: object, src: int, group: object) -> None:
        self.calls["scatter", own.nbytes] += 1

    def gather(self, own: torch.Tensor, shares: object, dst: int, group: object) -> None:
        self.calls["gather", own.nbytes] += 1

    def all_gather(self, parts: object, x: torch.Tensor, group: object) -> None:
        self.calls["all_gather", x.nbytes] += 1

    def all_to_all_single(self, out: torch.Tensor, x: torch.Tensor, group: object) -> None:
        self.calls["all_to_all", x.nbytes] += 1
        out.zero_()

    def batch_isend_irecv(self, ops: list[torch.Tensor]) -> list[object]:
        self.calls["ring_shift", ops[0].nbytes] += 1
        return []


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    names = ("broadcast", "scatter", "gather", "all_gather", "all_to_all_single")
    for name in (*names, "batch_isend_irecv"):
        monkeypatch.setattr(sequences.dist, name, getattr(counted, name))
    monkeypatch.setattr(sequences.dist, "P2POp", lambda op, x, peer, group: x)
    return counted


@pytest.mark.parametrize("method", ["ulysses", "ring"])
@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize("refresh", ["never", "kv_similarity"])
def test_what_is_predicted_is_what_the_kernels_exchange(
    method: str, lane: int, refresh: str, counted: Counted
) -> None:
    share = {"parallelism": method, "gpus": 4, "sequence_ranks": 2}
    plan = make_plan(resolution=[32, 48], conditioning={"sink_refresh": refresh}, **share)
    stage, item = plan.stages[lane], Item(12, (Row(0, 9, 9, 0), Row(0, 8, 8, 1)))
    ranks = (stage.rank, stage.rank + 1)
    sequence = SequenceGroup(method, 0, 2, 3, ranks, None)  # type: ignore[arg-type]
    kernels = StageKernels(plan, stage, sequence=sequence)
    work = Work(kernels.zeros(2, 1, 16, 4, 6), (700, 500), kernels.zeros(2, 6, 256))
    Leader(sequence, time.monotonic, "cpu").call(item, work)
    kernels.run({0: States(kernels).of(0)}, item, work)
    predicted: Counter[tuple[str, int]] = Counter()
    for op, count in services(plan, plan.dit_pass(stage, item)):
        if isinstance(op, Collective):
            predicted[op.exchange, op.size_bytes] += count
    done = counted.calls
    for exchange in ("all_to_all", "ring_shift"):
        assert {k: n for k, n in predicted.items() if k[0] == exchange} == {
            k: n for k, n in done.items() if k[0] == exchange
        }
    own = 2 * 3 * 256 * 4
    latents = 2 * 16 * 4 * 6 * 4
    brought = ("broadcast", latents) if stage.first else ("scatter", own)
    assert done["broadcast", HEADER_BYTES] == done["gather", own] == done[brought] == 1
    # each of them is taken for a gathering; what is broadcast is one member's share of a gathering
    ends = Counter([HEADER_BYTES, own, latents // 2 if stage.first else own])
    means = Counter({size: n for (name, size), n in done.items() if name == "all_gather"})
    assert sum(means.values()) == (2 if refresh == "kv_similarity" else 0)
    told = {size: n for (name, size), n in predicted.items() if name == "all_gather"}
    assert told == dict(ends + means)


@pytest.mark.parametrize("method", ["ulysses", "ring"])
def test_twins_record_the_same_of_every_member(method: str, tmp_path: Path) -> None:
    plan = make_plan(resolution=[32, 48], chunks=8, gpus=2, parallelism=method)
    clip = read_frames(clip_path(), 32, 48)
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    virtual = simulate(plan, RowLatency(), motion_trace(clip, plan))
    kinds = ("encode", "dit", "decode", "hop")
    for rank in range(2):
        did, would = (
            [
                (s.kind, s.chunk, s.item, s.rows, s.peer)
                for s in records.spans
                if s.rank == rank and s.kind in kinds
            ]
            for records in (real, virtual)
        )
        assert did == would
    for records in (real, virtual):  # a member waits for its leader and for nobody else
        waits = [s for s in records.spans if s.kind in WAITS]
        assert {(s.rank, s.kind, s.peer) for s in waits} == {(1, "wait_hop", 0)}
    assert [one.blocks for one in real.info.ranks] == [one.blocks for one in virtual.info.ranks]
    assert (
        virtual.info.ranks
        == run_info(plan, "simulated", {}, [one.memory_bytes for one in virtual.info.ranks]).ranks
    )
