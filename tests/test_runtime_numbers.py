"""What the pipeline computes does not depend on how it is spread over processes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from builders import make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.plan import Plan
from streamtwin.core.policies.sink import SINK, SinkView
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime import worker
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.spool import spool_path
from streamtwin.runtime.video import Clip, read_frames

SMALL = {"resolution": [32, 48], "chunks": 10}


class Output(NamedTuple):
    """Clean latents [frames, C, h, w] in the order of decoding, and the raw frames emitted."""

    latents: np.ndarray
    frames: np.ndarray


def recorded(context: RankContext, job: worker.Job) -> list[tuple[np.ndarray, np.ndarray]]:
    """Run a rank and keep what it decodes, and to what."""
    decoded, decode = [], StageKernels.decode

    def keep(kernels, state, clean):
        if state.session == 0:  # -1 is the warm-up
            latents = clean.numpy().copy()
            decoded.append((latents, decode(kernels, state, clean)))
            return decoded[-1][1]
        return decode(kernels, state, clean)

    StageKernels.decode = keep  # type: ignore[method-assign]
    worker.run_rank(context, job)
    return decoded


def run(plan: Plan, clip: Clip, folder: Path) -> Output:
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    decoded = run_ranks(recorded, plan.ranks, (job,))[-1]
    frames = np.fromfile(spool_path(folder, 0), np.uint8).reshape(-1, 32, 48, 3)
    assert len(decoded) == 10
    assert np.array_equal(frames, np.concatenate([emitted for _, emitted in decoded]))
    return Output(np.concatenate([latents for latents, _ in decoded]), frames)


def error(value: np.ndarray, reference: np.ndarray) -> float:
    """Norm of the difference as a share of the reference's."""
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


@pytest.fixture(scope="module")
def alone(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Output]:
    """Output of one process without stream batch, by steps."""
    return {
        steps: run(
            make_plan(**SMALL, steps=steps, stream_batch=False),
            clip,
            tmp_path_factory.mktemp("alone"),
        )
        for steps in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("gpus", "steps", "stream_batch"),
    [(1, 2, False), (2, 2, False), (3, 2, False), (4, 2, False), (4, 3, False), (2, 1, True)],
)
def test_ranks_compute_the_same_bits_where_passes_have_the_same_rows(
    gpus: int, steps: int, stream_batch: bool, clip: Clip, tmp_path: Path, alone: dict
) -> None:
    plan = make_plan(**SMALL, gpus=gpus, steps=steps, stream_batch=stream_batch)
    done = run(plan, clip, tmp_path)
    assert np.array_equal(done.latents, alone[steps].latents)
    assert np.array_equal(done.frames, alone[steps].frames)


@pytest.mark.parametrize(("gpus", "steps"), [(1, 2), (2, 2), (3, 3), (4, 2)])
def test_a_stream_batch_differs_by_rounding_only(
    gpus: int, steps: int, clip: Clip, tmp_path: Path, alone: dict
) -> None:
    """Passes have several rows here: sums are taken in another order, in float32."""
    done = run(make_plan(**SMALL, gpus=gpus, steps=steps), clip, tmp_path)
    expected = alone[steps]
    assert done.latents.shape == expected.latents.shape
    for frame, other in zip(done.latents, expected.latents, strict=True):
        assert error(frame, other) < 1e-6
    # a pixel that lies between two levels may be rounded to either
    assert np.abs(done.frames.astype(int) - expected.frames).max() <= 1


def test_frames_differ_so_that_a_misplaced_one_is_seen(alone: dict) -> None:
    for done in alone.values():
        for frame, following in zip(done.latents, done.latents[1:], strict=False):
            assert error(frame, following) > 1e-2
        assert np.abs(np.diff(done.frames.astype(int), axis=0)).max(axis=(1, 2, 3)).min() > 1


def test_another_seed_is_another_video(clip: Clip, tmp_path: Path, alone: dict) -> None:
    done = run(make_plan(**SMALL, seed=1, stream_batch=False), clip, tmp_path)
    assert error(done.latents, alone[2].latents) > 1e-2


REFRESH = {
    "sink_refresh": "kv_similarity",
    "sink_threshold": 0.6,
    "rope_refresh": "reset",
    "rope_threshold": 7,
}


def test_refreshed_sinks_and_positions_are_the_same_bits_on_any_number_of_ranks(
    clip: Clip, tmp_path: Path, alone: dict
) -> None:
    """Sinks are replaced a block and a row at a time, so no rank decides for its whole stage."""
    outputs = []
    for gpus in (1, 2, 4):
        plan = make_plan(**SMALL, gpus=gpus, stream_batch=False, conditioning=REFRESH)
        outputs.append(run(plan, clip, tmp_path))
    for done in outputs[1:]:
        assert np.array_equal(done.latents, outputs[0].latents)
    assert error(outputs[0].latents, alone[2].latents) > 1e-4


def test_refreshes_are_recorded_with_what_their_policies_saw(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=2, conditioning=REFRESH)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    replaced = [d for d in records.decisions if d.family == "sink" and d.chose != "kept"]
    assert {d.rank for d in replaced} == {0, 1}
    for decision in replaced:
        saw = decision.saw
        likeness = tuple(saw[f"similarity_{i}"] for i in range(3))
        view = SinkView(int(saw["frame"]), 3, saw["threshold"], likeness)
        assert SINK[decision.policy](view) == decision.chose
        assert saw["block"] in plan.stages[decision.rank].blocks
    # six blocks and two rows are asked from frame 6, chunk 5, on
    kept = sum(d.saw["kept"] for d in records.decisions if d.family == "sink")
    assert kept + len(replaced) == 6 * 2 * 5
    restarts = [d for d in records.decisions if d.family == "rope"]
    assert [(d.saw["frame"], d.chose) for d in restarts] == [(7, 5), (9, 5)]
