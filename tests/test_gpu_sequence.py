"""On CUDA cards: parts of an attention are merged right, and members share a pass over NCCL."""

from pathlib import Path

import pytest
import torch

from builders import make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.merged_attention import merge, partial_attention
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.members import form_groups
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.transport import connect, disconnect
from streamtwin.runtime.video import read_frames

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

two_cards = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float64, 1e-12), (torch.float32, 1e-4), (torch.float16, 5e-3), (torch.bfloat16, 2e-2)],
)
@pytest.mark.parametrize("width", [128, 36])
def test_parts_merge_to_the_whole(dtype: torch.dtype, bound: float, width: int) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, length, 3, width, generator=draw, dtype=torch.float64).to("cuda", dtype)
        for length in (70, 400, 400)
    )
    sizes = (100, 1, 299)
    shares = zip(k.split(sizes, 1), v.split(sizes, 1), strict=True)
    merged = merge(torch.stack([partial_attention(q, *share) for share in shares])).double()
    scores = torch.einsum("bqhd,bkhd->bhqk", q.double(), k.double()) * width**-0.5
    whole = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v.double())
    assert float((merged - whole).abs().max() / whole.abs().max()) < bound


def passes(kernels: StageKernels) -> torch.Tensor:
    """Three chunks of a whole model; the latents after their first denoising step."""
    state = kernels.new_session(0)
    size, shape, after = kernels.plan.scenario.size, kernels.plan.scenario.shape, []
    for chunk in range(3):
        draw = torch.Generator().manual_seed(chunk)
        latents = torch.randn(1, shape.latents_of(chunk), 16, *size.latent, generator=draw)
        work = Work(latents.to(kernels.device, kernels.dtype), (700,))
        item = Item(chunk, (Row(0, chunk, chunk, 0),))
        after.append(kernels.run({0: state}, item, work).latents)
    return torch.cat(after, dim=1).float().cpu()


def member(context: RankContext, plan: Plan, dtype: torch.dtype) -> list[float]:
    device = f"cuda:{context.rank}"
    connect(context.rank, context.ranks, context.rendezvous, "nccl", device, plan.edges)
    sequence = form_groups(plan, context.rank, device)
    context.ready()
    done = passes(StageKernels(plan, plan.stage_of(context.rank), device, dtype, sequence=sequence))
    disconnect()
    return done.flatten().tolist()


@two_cards
@pytest.mark.parametrize("method", ["ulysses", "ring"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_two_cards_compute_what_one_does(method: str, dtype: torch.dtype, bound: float) -> None:
    plan = make_plan(gpus=2, parallelism=method)
    alone = passes(StageKernels(plan, plan.stages[0], "cuda:0", dtype)).flatten()
    shared = torch.tensor(run_ranks(member, 2, (plan, dtype), pin=False)[0])
    assert float((shared - alone).norm() / alone.norm()) < bound


@two_cards
@pytest.mark.parametrize("method", ["ulysses", "ring"])
def test_a_stream_runs_on_two_cards_of_one_stage(method: str, tmp_path: Path) -> None:
    plan = make_plan(chunks=24, gpus=2, parallelism=method)
    clip = read_frames(clip_path(), *plan.scenario.resolution)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4", device="cuda")
    assert done.frames == 97
    assert {s.rank for s in done.records.spans if s.kind == "dit"} == {0, 1}


@pytest.mark.skipif(torch.cuda.device_count() < 4, reason="needs four CUDA devices")
def test_stages_of_two_cards_each_form_a_pipeline(tmp_path: Path) -> None:
    plan = make_plan(chunks=24, gpus=4, parallelism="ring", sequence_ranks=2)
    clip = read_frames(clip_path(), *plan.scenario.resolution)
    assert run_pipeline(plan, clip, tmp_path / "out.mp4", device="cuda").frames == 97
