"""On a CUDA card: the kernels and the pipeline compute what they compute on a CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from builders import make_plan
from streamtwin.core import catalog
from streamtwin.core.layout import lay_out
from streamtwin.core.library import clip_path
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario_file import check_scenario
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.kernels.vae import build_decoder
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import read_frames

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def one_pass(plan: Plan, device: str, dtype: torch.dtype) -> torch.Tensor:
    """The first denoising step of a first chunk, with weights drawn on the CPU."""
    host = StageKernels(plan, plan.stages[0])
    kernels = StageKernels(plan, plan.stages[0], device, dtype)
    kernels.dit.load_state_dict(host.dit.state_dict())
    state = kernels.new_session(0)
    size = plan.scenario.size
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 2, 16, *size.latent, generator=draw).to(device, dtype)
    work = Work(latents, (700,))
    with torch.inference_mode():
        out = kernels.run({0: state}, Item(0, (Row(0, 0, 0, 0),)), work)
    return out.latents.float().cpu()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_a_pass_equals_that_of_the_cpu(dtype: torch.dtype, bound: float) -> None:
    plan = make_plan()
    host, card = one_pass(plan, "cpu", torch.float32), one_pass(plan, "cuda", dtype)
    assert float((card - host).norm() / host.norm()) < bound


def test_the_pipeline_runs_on_one_card(tmp_path: Path) -> None:
    plan = make_plan(chunks=24)
    clip = read_frames(clip_path(), *plan.scenario.resolution)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4", device="cuda")
    assert done.frames == 97
    assert compute_metrics(done.records)["fps"] > 16


def test_taehv_on_a_card_equals_that_of_the_cpu() -> None:
    vae = catalog.vae("taehv-tiny")
    host, card = (build_decoder(vae, seed=0, device=device) for device in ("cpu", "cuda"))
    card.load_state_dict(host.state_dict())
    latents = torch.randn(3, 16, 16, 24, generator=torch.Generator().manual_seed(1))
    frames = []
    for decoder, part in ((host, latents), (card, latents.cuda())):
        state = decoder.new_state()
        pieces = [decoder.decode(piece, state).cpu() for piece in part.split([2, 1])]
        frames.append(torch.cat(pieces, dim=1))
    assert float((frames[1] - frames[0]).norm() / frames[0].norm()) < 1e-2


def test_taehv_decodes_480p_in_the_stage_type() -> None:
    decoder = build_decoder(catalog.vae("taehv"), seed=0, device="cuda", dtype=torch.bfloat16)
    latents = torch.randn(3, 16, 60, 104, device="cuda", dtype=torch.bfloat16)
    state = decoder.new_state()
    frames = decoder.decode(latents, state)
    assert frames.shape == (3, 9, 480, 832)
    assert bool(torch.isfinite(frames).all())
    assert state.size_bytes == 2 * 3 * 60 * 104 * (256 + 4 * 128 + 16 * 64)


@pytest.mark.parametrize("model", ["wan2.1-1.3b", "wan2.1-14b"])
def test_full_sizes_run_and_stay_finite(model: str) -> None:
    data = {"model": model, "vae": "wan2.1", "resolution": [480, 832]}
    scenario = check_scenario({**data, "workload": {"chunks": 3}, "deployment": {"steps": 1}}, "x")
    plan = lay_out(scenario, itemsize=2)
    kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
    state = kernels.new_session(0)
    frames = np.random.default_rng(0).integers(0, 256, (5, 480, 832, 3), dtype=np.uint8)
    latents = kernels.encode(state, Row(0, 0, 0, 0), frames, lambda _: 0.8)
    done = kernels.run({0: state}, Item(0, (Row(0, 0, 0, 0),)), Work(latents[None], (700,)))
    assert bool(torch.isfinite(done.latents).all())
    assert kernels.decode(state, done.latents[0]).shape == (5, 480, 832, 3)
