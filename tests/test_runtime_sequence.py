"""Stages whose members share every pass make the same video, and record what each rank did."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from builders import make_plan
from streamtwin.core.bubbles import CAUSES
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import Clip, read_frames

SMALL = {"resolution": [32, 48], "chunks": 10}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def kept(context: RankContext, job: worker.Job) -> tuple[list[np.ndarray], np.ndarray]:
    """Run a rank; keep the clean latents that it decodes, and its keys at the end."""
    decoded, states, decode, begin = [], [], StageKernels.decode, StageKernels.new_session

    def keep(kernels, state, clean):
        if state.session == 0:
            decoded.append(clean.numpy().copy())
        return decode(kernels, state, clean)

    def new(kernels, session):
        states.append(begin(kernels, session))
        return states[-1]

    StageKernels.decode, StageKernels.new_session = keep, new  # type: ignore[method-assign]
    worker.run_rank(context, job)
    return decoded, states[-1].cache.k.numpy().copy()


def run(clip: Clip, folder: Path, **changes: object) -> tuple[np.ndarray, list[np.ndarray]]:
    """Clean latents [frames, C, h, w], and the keys of every rank."""
    plan = make_plan(**SMALL, **changes)
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder / "out.rgb")
    results = run_ranks(kept, plan.ranks, (job,))
    latents = [one for decoded, _ in results for one in decoded]
    assert len(latents) == 10
    return np.concatenate(latents), [keys for _, keys in results]


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One process, by chunk_latents."""
    return {
        latents: run(clip, tmp_path_factory.mktemp("alone"), chunk_latents=latents)
        for latents in (1, 2)
    }


def error(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize(
    ("parallelism", "gpus", "members", "chunk_latents"),
    [
        ("ulysses", 2, 2, 1),
        ("ulysses", 4, 2, 1),
        ("ulysses", 2, 2, 2),
        ("ring", 2, 2, 1),
        ("ring", 3, 3, 1),
        ("ring", 4, 2, 1),
        ("ring", 3, 3, 2),
    ],
)
def test_members_make_what_one_process_makes(
    parallelism: str,
    gpus: int,
    members: int,
    chunk_latents: int,
    clip: Clip,
    tmp_path: Path,
    alone: dict,
) -> None:
    latents, keys = run(
        clip,
        tmp_path,
        parallelism=parallelism,
        gpus=gpus,
        sequence_ranks=members,
        chunk_latents=chunk_latents,
    )
    expected, (whole,) = alone[chunk_latents]
    assert latents.shape == expected.shape
    for frame, other in zip(latents, expected, strict=True):
        assert error(frame, other) < 1e-6
    stages = [keys[start : start + members] for start in range(0, gpus, members)]
    joined = np.concatenate([joined_keys(stage, parallelism) for stage in stages])
    assert joined.shape == whole.shape
    assert error(joined, whole) < 1e-6


def joined_keys(members: list[np.ndarray], parallelism: str) -> np.ndarray:
    """Keys [blocks, rows, window * S, heads, head_dim] of a stage from its members' shares."""
    if parallelism == "ulysses":
        return np.concatenate(members, axis=3)
    shares = [one.reshape(*one.shape[:2], 6, -1, *one.shape[3:]) for one in members]  # by frame
    return np.concatenate(shares, axis=3).reshape(*members[0].shape[:2], -1, *members[0].shape[3:])


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


@pytest.mark.parametrize("parallelism", ["ulysses", "ring"])
def test_predicted_memory_is_what_a_member_holds(
    parallelism: str, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(**SMALL, parallelism=parallelism, gpus=2)
    alone = rank_memory(make_plan(**SMALL), plan.stages[0])
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    for member, info in enumerate(records.info.ranks):
        predicted = rank_memory(plan, plan.stages[0], member)
        for part in ("kv", "cross_kv"):
            assert predicted[part] == info.memory_bytes[part]
        assert 2 * predicted["kv"] == alone["kv"]
        assert predicted["cross_kv"] == alone["cross_kv"]
        assert predicted["weights"] == pytest.approx(info.memory_bytes["weights"], rel=0.05)
        assert predicted["vae"] == pytest.approx(info.memory_bytes["vae"], rel=0.3)
        assert (predicted["vae"] > 0) == (member == 0)
