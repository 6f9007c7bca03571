"""Stages whose members share every pass make the same video, and record what each rank did."""

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from builders import make_plan
from streamtwin.core.bubbles import CAUSES
from streamtwin.core.library import clip_path
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import Clip, read_frames

SMALL: dict[str, Any] = {"resolution": [32, 48], "chunks": 10}
PLAIN = [SMALL | {"chunk_latents": latents} for latents in (1, 2)]
RICH: dict[str, Any] = SMALL | {
    "sessions": 2,
    "batching": {"batch": 2},
    "visits": [{"prompts": {0: "rain", 4: "snow"}}, {"chunks": 7, "prompts": {3: "fog"}}],
    "conditioning": {
        "sink_refresh": "kv_similarity",
        "sink_threshold": 0.7,
        "rope_refresh": "reset",
        "rope_threshold": 6,
    },
    "window": 4,
    "sink": 2,
}
"""Two sessions in the same passes, of which one leaves early; prompts, sinks and positions change."""


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


class Kept(NamedTuple):
    """What a rank saw: by session the clean latents that it decoded and its keys at the end."""

    latents: dict[int, np.ndarray]
    keys: dict[int, np.ndarray]
    sinks: set[tuple[object, ...]]
    """Session, chunk, KV row, block and slot of every sink that was replaced."""
    held: list[int]
    """Sessions whose state was not dropped."""
    unrecorded: int
    """Decisions that nobody has taken note of or thrown away."""


def kept(context: RankContext, job: worker.Job) -> Kept:
    """Run a rank and keep what it saw of the sessions of the stream."""
    latents: dict[int, list[np.ndarray]] = {}
    decode = StageKernels.decode
    begun, held = {}, []

    class Watched(worker.States):
        def of(self, session):
            held[:] = [self]
            begun[session] = super().of(session)
            return begun[session]

    def keep(kernels, state, clean):
        if state.session >= 0:
            latents.setdefault(state.session, []).append(clean.numpy().copy())
        return decode(kernels, state, clean)

    StageKernels.decode, worker.States = keep, Watched  # type: ignore[method-assign,misc]
    recorder = worker.run_rank(context, job).recorder
    return Kept(
        {session: np.concatenate(parts) for session, parts in latents.items()},
        {
            session: np.array([keys.numpy() for keys in state.cache.k])
            for session, state in begun.items()
        },
        {
            (d.session, d.chunk, d.saw["row"], d.saw["block"], d.chose)
            for d in recorder.decisions
            if d.family == "sink" and d.chose != "kept"
        },
        sorted(held[0].held),
        sum(len(state.sinks.replaced) for state in begun.values()),
    )


def run(clip: Clip, folder: Path, **changes: object) -> list[Kept]:
    """What every rank saw."""
    plan = make_plan(**changes)
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    return run_ranks(kept, plan.ranks, (job,))


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> list[Kept]:
    """One process, for each of the workloads."""
    return [
        run(clip, tmp_path_factory.mktemp("alone"), **workload)[0] for workload in (*PLAIN, RICH)
    ]


def error(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


def compare(ranks: list[Kept], members: int, method: str, window: int, expected: Kept) -> None:
    """Hold what all ranks of a run saw to what one process saw."""
    assert all((rank.held, rank.unrecorded) == ([], 0) for rank in ranks)
    holders = [rank for rank in ranks if len(rank.keys[0])]  # of blocks
    stages = [holders[start : start + members] for start in range(0, len(holders), members)]
    decoder = stages[-1][0] if holders == ranks else ranks[-1]
    decoded = decoder.latents
    assert not any(rank.latents for rank in ranks if rank is not decoder)
    assert decoded.keys() == expected.latents.keys()
    for session, whole in expected.latents.items():
        assert decoded[session].shape == whole.shape
        for frame, other in zip(decoded[session], whole, strict=True):
            assert error(frame, other) < 1e-6
    for session, whole in expected.keys.items():
        shares = [[member.keys[session] for member in stage] for stage in stages]
        keys = np.concatenate([joined_keys(stage, method, window) for stage in shares])
        assert keys.shape == whole.shape
        assert error(keys, whole) < 1e-6
    assert set().union(*(stage[0].sinks for stage in stages)) == expected.sinks
    assert not any(member.sinks for stage in stages for member in stage[1:])


def joined_keys(members: list[np.ndarray], parallelism: str, window: int) -> np.ndarray:
    """Keys [blocks, rows, window * S, heads, head_dim] of a stage from its members' shares."""
    if parallelism == "ulysses":
        return np.concatenate(members, axis=3)
    shares = [one.reshape(*one.shape[:2], window, -1, *one.shape[3:]) for one in members]
    return np.concatenate(shares, axis=3).reshape(*members[0].shape[:2], -1, *members[0].shape[3:])


@pytest.mark.parametrize(
    ("parallelism", "gpus", "members", "chunk_latents"),
    [
        ("ulysses", 2, 2, 1),
        ("ulysses", 4, 2, 2),
        ("ring", 2, 2, 2),
        ("ring", 3, 3, 1),
        ("ring", 4, 2, 1),
    ],
)
def test_members_make_what_one_process_makes(
    parallelism: str,
    gpus: int,
    members: int,
    chunk_latents: int,
    clip: Clip,
    tmp_path: Path,
    alone: list[Kept],
) -> None:
    share = {"parallelism": parallelism, "gpus": gpus, "sequence_ranks": members}
    ranks = run(clip, tmp_path, **PLAIN[chunk_latents - 1], **share)
    compare(ranks, members, parallelism, 6, alone[chunk_latents - 1])


OVERLAP = {"protocol": "overlap", "decode": "before_send"}


@pytest.mark.parametrize(
    ("parallelism", "gpus", "members", "protocol"),
    [
        ("ulysses", 2, 2, {}),
        ("ring", 3, 3, {}),
        ("ring", 4, 2, {}),
        ("ulysses", 4, 2, OVERLAP),
        ("ring", 6, 2, {"protocol": "overlap", "vae_placement": "dedicated"}),
    ],
)
def test_members_follow_sessions_prompts_sinks_and_positions(
    parallelism: str,
    gpus: int,
    members: int,
    protocol: dict[str, str],
    clip: Clip,
    tmp_path: Path,
    alone: list[Kept],
) -> None:
    share = {"parallelism": parallelism, "gpus": gpus, "sequence_ranks": members, **protocol}
    compare(run(clip, tmp_path, **RICH, **share), members, parallelism, 4, alone[2])


def test_the_rich_workload_asks_what_its_test_is_about(alone: list[Kept]) -> None:
    """Blocks replace sinks of both sessions and all rows at different chunks, so some are close."""
    replaced = alone[2].sinks
    assert {one[0] for one in replaced} == {0, 1}
    assert {one[2:4] for one in replaced} == {(row, block) for row in (0, 1) for block in range(6)}
    by_block = [{one[:3] for one in replaced if one[3] == block} for block in range(6)]
    assert any(chunks != by_block[0] for chunks in by_block)
    rain, fog = alone[2].latents[0], alone[2].latents[1]
    assert (len(rain), len(fog)) == (11, 8)
    assert error(rain[:8], fog) > 0.1


@pytest.fixture(scope="module")
def records(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Records:
    plan = make_plan(**SMALL, parallelism="ring", gpus=4, sequence_ranks=2)
    folder = tmp_path_factory.mktemp("run")
    done = run_pipeline(plan, clip, folder / "out.mp4")
    assert done.frames == 41
    return done.records


def test_every_member_records_the_passes_of_its_stage(records: Records) -> None:
    did = [
        [(s.chunk, s.item, s.rows) for s in records.spans if s.rank == rank and s.kind == "dit"]
        for rank in range(4)
    ]
    assert len(did[0]) > 10
    assert did == [did[0]] * 4
    for rank, leader in ((1, 0), (3, 2)):
        kinds = {(s.kind, s.peer) for s in records.spans if s.rank == rank}
        assert kinds == {("dit", -1), ("wait_hop", leader)}
        spans = sorted((s for s in records.spans if s.rank == rank), key=lambda s: s.began_s)
        for span, following in pairwise(spans):
            assert span.ended_s <= following.began_s


def test_items_hop_between_leaders_only(records: Records) -> None:
    assert {(s.peer, s.rank) for s in records.spans if s.kind == "hop"} == {(0, 2), (2, 0)}


def test_metrics_count_lanes_by_stage_and_idle_time_by_rank(records: Records) -> None:
    metrics = compute_metrics(records)
    assert records.info.lanes == 2
    assert [rank["rank"] for rank in metrics["ranks"]] == [0, 1, 2, 3]
    assert [rank["blocks"] for rank in metrics["ranks"]] == [[0, 3], [0, 3], [3, 6], [3, 6]]
    for rank in metrics["ranks"]:
        assert 0 < rank["busy_fraction"] <= 1
        assert set(rank["bubbles"]) == set(CAUSES)
        assert sum(rank["bubbles"].values()) == pytest.approx(rank["idle_s"])
