"""Every protocol variant, with real ranks: the same numbers, and what the simulator does."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist

from builders import FlatLatency, make_plan
from streamtwin.core.decision_log import first_difference
from streamtwin.core.library import clip_path
from streamtwin.core.limits import LONG_START_S
from streamtwin.core.memory import rank_memory
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import HEADER_BYTES, Plan
from streamtwin.core.records import SERVICES, Records
from streamtwin.reports.page import render_run
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.spool import spool_path
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate
from test_runtime_numbers import Output, error, recorded

CHUNKS = 9
SMALL = {"resolution": [32, 48], "chunks": CHUNKS}

VARIANTS = {
    "no activations": {"wrap_activations": False},
    "before send": {"decode": "before_send"},
    "overlap": {"protocol": "overlap"},
    "overlap, before send": {"protocol": "overlap", "decode": "before_send"},
    "overlap, activations": {"protocol": "overlap", "wrap_activations": True},
    "dedicated": {"vae_placement": "dedicated"},
    "dedicated, overlap": {"vae_placement": "dedicated", "protocol": "overlap"},
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def run(plan: Plan, clip: Clip, folder: Path) -> Output:
    """Clean latents and frames of a run on real ranks."""
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    decoded = run_ranks(recorded, plan.ranks, (job,))[-1]
    frames = np.fromfile(spool_path(folder, 0), np.uint8).reshape(-1, 32, 48, 3)
    return Output(np.concatenate([latents for latents, _ in decoded]), frames)


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Output]:
    """Output of one process without stream batch, by latents a chunk (T')."""
    return {
        latents: run(
            make_plan(**SMALL, chunk_latents=latents, stream_batch=False),
            clip,
            tmp_path_factory.mktemp("alone"),
        )
        for latents in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("variant", "gpus", "latents"),
    [
        ("no activations", 2, 1),
        ("before send", 3, 1),
        ("before send", 4, 2),
        ("overlap", 1, 1),
        ("overlap", 2, 1),
        ("overlap", 3, 2),
        ("overlap", 4, 3),
        ("overlap, before send", 4, 1),
        ("overlap, activations", 2, 2),
        ("dedicated", 3, 1),
        ("dedicated", 4, 2),
        ("dedicated, overlap", 3, 3),
        ("dedicated, overlap", 4, 1),
    ],
)
def test_every_protocol_computes_the_same_bits(
    variant: str, gpus: int, latents: int, clip: Clip, tmp_path: Path, alone: dict
) -> None:
    plan = make_plan(
        **SMALL, **VARIANTS[variant], gpus=gpus, chunk_latents=latents, stream_batch=False
    )
    done = run(plan, clip, tmp_path)
    assert np.array_equal(done.latents, alone[latents].latents)
    assert np.array_equal(done.frames, alone[latents].frames)
    assert len(done.frames) == 1 + 4 * latents * CHUNKS


@pytest.mark.parametrize(
    ("variant", "gpus", "latents"),
    [("overlap", 2, 2), ("overlap, before send", 3, 1), ("dedicated, overlap", 4, 2)],
)
def test_a_stream_batch_differs_by_rounding_only(
    variant: str, gpus: int, latents: int, clip: Clip, tmp_path: Path, alone: dict
) -> None:
    plan = make_plan(**SMALL, **VARIANTS[variant], gpus=gpus, chunk_latents=latents)
    done, expected = run(plan, clip, tmp_path), alone[latents]
    assert done.latents.shape == expected.latents.shape
    for frame, other in zip(done.latents, expected.latents, strict=True):
        assert error(frame, other) < 1e-6
    assert np.abs(done.frames.astype(int) - expected.frames).max() <= 1


Calls = list[tuple[str, float]]


def calls_in_order(context: RankContext, job: worker.Job) -> Calls:
    """Run a rank; groups made, with their timeouts in seconds, and receives posted ahead."""
    calls: Calls = []

    def note(name: str, intact: Callable[..., Any], *args: Any, **more: Any) -> Any:
        given = [one.total_seconds() for one in args if isinstance(one, timedelta)]
        calls.append((name, *(given or [0.0])))
        return intact(*args, **more)

    for name in ("init_process_group", "new_group", "irecv"):
        setattr(dist, name, partial(note, name, getattr(dist, name)))
    worker.run_rank(context, job)
    return calls


def calls_of(plan: Plan, clip: Clip, folder: Path) -> list[Calls]:
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    return run_ranks(calls_in_order, plan.ranks, (job,))


def test_all_groups_are_made_before_a_receive_is_open(clip: Clip, tmp_path: Path) -> None:
    """On a card to make one waits for all that is open, which only the stream itself would end."""
    plan = make_plan(**SMALL, gpus=3, protocol="overlap", partition={"schedule": {6: [4, 1, 1]}})
    for calls in calls_of(plan, clip, tmp_path):
        names = [name for name, _ in calls]
        assert "new_group" in names
        assert names.count("irecv") > CHUNKS
        assert "new_group" not in names[names.index("irecv") :]


@pytest.mark.parametrize(
    "changes",
    [{"partition": {"schedule": {6: [5, 1]}}}, {"parallelism": "ulysses"}],
    ids=["moves", "members"],
)
def test_no_message_gives_up_on_a_rank_that_still_loads(
    changes: dict, clip: Clip, tmp_path: Path
) -> None:
    for calls in calls_of(make_plan(**SMALL, gpus=2, **changes), clip, tmp_path):
        groups = [(name, timeout_s) for name, timeout_s in calls if name != "irecv"]
        assert {name for name, _ in groups} == {"init_process_group", "new_group"}
        assert all(timeout_s > LONG_START_S for _, timeout_s in groups)


def did(records: Records, rank: int, kinds: tuple[str, ...]) -> list[tuple]:
    return [
        (s.kind, s.chunk, s.item, s.rows, s.size_bytes, s.peer)
        for s in records.spans
        if s.rank == rank and s.kind in kinds
    ]


def no_result_leaves_before_its_chunk_is_decoded(records: Records, last: int, moved: str) -> bool:
    decoded = {s.item: s.ended_s for s in records.spans if s.kind == "decode"}
    back = {s.item: s.began_s for s in records.spans if s.kind == moved and s.peer == last}
    assert len(decoded.keys() & back.keys()) > CHUNKS // 2
    return all(decoded[item] <= back[item] for item in decoded.keys() & back.keys())


@pytest.mark.parametrize(
    ("variant", "gpus", "latents", "stream_batch"),
    [
        ("no activations", 2, 1, True),
        ("before send", 3, 1, True),
        ("overlap", 2, 1, True),
        ("overlap", 3, 2, False),
        ("overlap, before send", 4, 1, True),
        ("dedicated", 3, 2, True),
        ("dedicated, overlap", 4, 1, True),
    ],
)
def test_twins_do_the_same_in_the_same_order(
    variant: str, gpus: int, latents: int, stream_batch: bool, clip: Clip, tmp_path: Path
) -> None:
    plan = make_plan(
        **SMALL, **VARIANTS[variant], gpus=gpus, chunk_latents=latents, stream_batch=stream_batch
    )
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    virtual = simulate(plan, FlatLatency(), motion_trace(clip, plan))
    # what remains of a hop depends on time where transfers hide; that there is one does not
    moved = "transfer" if plan.scenario.deployment.overlaps else "hop"
    for rank in range(gpus):
        assert did(real, rank, SERVICES) == did(virtual, rank, SERVICES)
        assert did(real, rank, (moved,)) == did(virtual, rank, (moved,))
    if plan.scenario.deployment.decodes_before_send:
        for records in (real, virtual):
            assert no_result_leaves_before_its_chunk_is_decoded(records, gpus - 1, moved)
    # an input that always waits is released when rank 0 looks: that instant is each executor's own
    assert first_difference(virtual.decisions, real.decisions, seconds=False) is None
    for records in (real, virtual):
        for rank in compute_metrics(records)["ranks"]:
            assert sum(rank["bubbles"].values()) == pytest.approx(rank["idle_s"], abs=1e-9)
        assert f"{gpus} ranks" in render_run(records)


def test_the_last_link_carries_what_the_scenario_says(clip: Clip, tmp_path: Path) -> None:
    """Header, latents of two rows, and the hidden state or not; one row on the way to decode."""
    latents = 16 * (32 // 8) * (48 // 8) * 4
    hidden = (32 // 16) * (48 // 16) * 256 * 4
    carried = {
        "no activations": {(1, 0): HEADER_BYTES + 2 * latents},
        "overlap, activations": {(1, 0): HEADER_BYTES + 2 * (latents + hidden)},
        "overlap": {(1, 0): HEADER_BYTES + 2 * latents},
        "dedicated": {
            (1, 0): HEADER_BYTES + 2 * latents,
            (0, 1): HEADER_BYTES + 2 * latents,
            (1, 2): HEADER_BYTES + latents,
        },
    }
    for variant, sizes in carried.items():
        plan = make_plan(**SMALL, **VARIANTS[variant], gpus=3 if variant == "dedicated" else 2)
        assert plan.model.dim == 256
        # of the other variants the twins' records are compared above, bytes included
        runs = [simulate(plan, FlatLatency())]
        if variant == "no activations":
            runs.append(run_pipeline(plan, clip, tmp_path / "out.mp4").records)
        moved = "transfer" if plan.scenario.deployment.overlaps else "hop"
        for records in runs:
            for (sender, receiver), size in sizes.items():
                steady = [
                    s.size_bytes
                    for s in records.spans
                    if (s.kind, s.peer, s.rank) == (moved, sender, receiver) and s.item == 8
                ]
                assert steady == [size], (variant, sender, receiver)


def test_ranks_of_the_vae_hold_no_blocks(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=4, vae_placement="dedicated")
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    held = [info.memory_bytes for info in records.info.ranks]
    predicted = [rank_memory(plan, stage) for stage in plan.stages]
    for rank, (real, expected) in enumerate(zip(held, predicted, strict=True)):
        for part in ("kv", "cross_kv"):
            assert real[part] == expected[part]
        has_blocks = 0 < rank < 3
        assert (real["kv"] > 0) == (real["cross_kv"] > 0) == has_blocks
        assert (real["vae"] > 0) == (expected["vae"] > 0) == (not has_blocks)
        assert real["weights"] == pytest.approx(expected["weights"], rel=1e-3)
