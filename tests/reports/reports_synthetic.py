"""A ring with encode, passes, hops and decode, timed by hand: records without an executor."""

import random
from collections.abc import Mapping
from typing import Any

from streamtwin.core.records import (
    ChunkRecord,
    Decision,
    RankInfo,
    Recorder,
    Records,
    RunInfo,
    Source,
    Span,
    SpanKind,
)

BLOCKS = 30


class _Ring:
    """Rank 0 sends item q once the result of item q - W + 1 is back; receives block."""

    def __init__(self, ranks: int, scale: float, jitter: float, seed: int, fps: float | None):
        self.ranks, self.scale, self.jitter, self.fps = ranks, scale, jitter, fps
        self.random = random.Random(seed)
        self.recorder = Recorder()
        self.free_s = [0.0] * ranks
        self.passed_s: dict[tuple[int, int], float] = {}

    def serve(self, rank: int, kind: SpanKind, seconds: float, chunk: int, **more: int) -> None:
        noisy = seconds * self.scale * (1 + self.jitter * (self.random.random() - 0.3))
        self.span(rank, kind, self.free_s[rank] + noisy, chunk, **more)

    def span(self, rank: int, kind: SpanKind, ended_s: float, chunk: int, **more: int) -> None:
        if ended_s > self.free_s[rank]:
            span = Span(rank, kind, self.free_s[rank], ended_s, chunk=chunk, **more)
            self.recorder.spans.append(span)
            self.free_s[rank] = ended_s

    def receive(self, rank: int, peer: int, item: int) -> None:
        self.span(rank, "wait_hop", self.passed_s[peer, item], item, item=item, peer=peer)
        size = 2 * 1560 * 1536
        self.serve(rank, "hop", 0.004, item, item=item, peer=peer, size_bytes=size)

    def turn(self, chunk: int) -> None:
        last = self.ranks - 1
        released_s = 0.0 if self.fps is None else (chunk + 1) * 4 / self.fps
        if self.ranks > 1 and chunk > last - 1:
            self.receive(0, last, chunk - last)
        self.span(0, "wait_input", released_s, chunk, item=chunk)
        taken_s = self.free_s[0]
        self.serve(0, "encode", 0.016, chunk, item=chunk)
        for rank in range(self.ranks):
            if rank:
                self.receive(rank, rank - 1, chunk)
            self.free_s[rank] += 0.0015  # the host, which no span names
            self.serve(rank, "dit", 0.15 / self.ranks, chunk, item=chunk, rows=2)
            self.passed_s[rank, chunk] = self.free_s[rank]
        self.serve(last, "decode", 0.024, chunk, item=chunk)
        released_s = released_s if self.fps else taken_s
        done = ChunkRecord(
            0, chunk, released_s, taken_s, self.free_s[last], 5 if chunk == 0 else 4, "emitted"
        )
        self.recorder.chunks[0, chunk] = done
        decision = Decision(taken_s, 0, "batching", "fixed", 0, chunk, {"waiting": 1.0}, 1.0)
        self.recorder.decisions.append(decision)


def ring_records(
    source: Source = "simulated",
    ranks: int = 2,
    chunks: int = 30,
    *,
    name: str = "ring",
    scale: float = 1.0,
    jitter: float = 0.0,
    seed: int = 0,
    fps: float | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Records:
    """Records of *chunks* chunks through a ring of *ranks*."""
    ring = _Ring(ranks, scale, jitter, seed, fps)
    for chunk in range(chunks):
        ring.turn(chunk)
    scenario: dict[str, Any] = {
        "name": name,
        "workload": {"chunks": max(2, chunks), "source_fps": fps},
        "deployment": {"gpus": ranks},
    }
    share = BLOCKS // ranks
    infos = tuple(
        RankInfo(r, (r * share, (r + 1) * share), {"weights": 10**9 // ranks, "kv": 3 * 10**8})
        for r in range(ranks)
    )
    stated = provenance or {"latency": f"{source}: host-a, 2026-01-02"}
    return ring.recorder.records(RunInfo(source, scenario, stated, infos, 2 * ranks, ranks))
