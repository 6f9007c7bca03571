"""On a CUDA card: passes are recorded, never wait, and the benchmark measures them."""

from pathlib import Path

import pytest
import torch

from builders import make_plan
from streamtwin.bench.figures import rate_lines, time_lines
from streamtwin.bench.request import BenchRequest
from streamtwin.bench.run import bench
from streamtwin.core.library import clip_path
from streamtwin.core.plan import Plan, lay_out
from streamtwin.core.repeats import opening_items
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario_file import check_scenario
from streamtwin.kernels.rehearsal import rehearse
from streamtwin.kernels.stage import SessionState, StageKernels, Work
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import read_frames

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def some_work(kernels: StageKernels, item: Item) -> Work:
    draw = torch.Generator().manual_seed(1000 + item.index)
    plan, rows = kernels.plan, len(item.rows)
    latents = plan.scenario.shape.latents_of(item.rows[0].ordinal)
    shape = (rows, latents, 16, *plan.scenario.size.latent)
    noisy = torch.randn(shape, generator=draw).to("cuda", kernels.dtype)
    return Work(noisy, tuple(kernels.timestep(row.step) for row in item.rows))


def stream(plan: Plan) -> list[Item]:
    """The opening of a stream and as many items again."""
    opening = opening_items(plan, 0)
    last, more = opening[-1], []
    for step in range(1, len(opening) + 1):
        rows = (Row(0, row.chunk + step, row.ordinal + step, row.step) for row in last.rows)
        more.append(Item(last.index + step, tuple(rows)))
    return opening + more


def outcome(kernels: StageKernels, state: SessionState, items: list[Item]) -> list[torch.Tensor]:
    return [
        kernels.run(state, item, some_work(kernels, item)).latents.float().cpu() for item in items
    ]


@pytest.mark.parametrize(
    ("changes", "bound"),
    [({"cuda_graph": True}, 1e-3), ({"compile": True}, 3e-2), ({"cuda_graph": True, "compile": True}, 3e-2)],
    ids=["graph", "compiled", "compiled-graph"],
)  # fmt: skip
def test_faster_ways_compute_what_eager_passes_compute(changes, bound) -> None:
    plain = make_plan(steps=2)
    fast = make_plan(steps=2, **changes)
    items = stream(plain)
    results = []
    for plan in (plain, fast):
        kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
        state = kernels.new_session(0)
        rehearse(kernels, state)
        results.append(outcome(kernels, state, items))
        if plan.scenario.deployment.cuda_graph:
            assert kernels.recorded is not None
            assert len(kernels.recorded) == 3
    for eager, other in zip(*results, strict=True):
        assert float((eager - other).norm() / eager.norm()) < bound


@pytest.mark.parametrize("recorded", [False, True])
def test_a_pass_never_waits_for_the_card(recorded) -> None:
    plan = make_plan(steps=2, cuda_graph=recorded)
    kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
    state = kernels.new_session(0)
    rehearse(kernels, state)
    items = stream(plan)
    works = [some_work(kernels, item) for item in items]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for item, work in zip(items, works, strict=True):
            kernels.run(state, item, work)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()


@pytest.mark.parametrize("model", ["wan2.1-1.3b", "wan2.1-14b"])
def test_full_sizes_are_recorded(model) -> None:
    data = {"model": model, "vae": "tiny", "resolution": [480, 832], "workload": {"chunks": 3}}
    deployment = {"steps": 1, "cuda_graph": True}
    plan = lay_out(check_scenario({**data, "deployment": deployment}, "x"), itemsize=2)
    kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
    state = kernels.new_session(0)
    rehearse(kernels, state)
    assert kernels.recorded is not None
    assert len(kernels.recorded) == 3
    assert all(bool(torch.isfinite(out).all()) for out in outcome(kernels, state, stream(plan)[:9]))


@pytest.mark.parametrize("changes", [{"cuda_graph": True}, {"cuda_graph": True, "compile": True}])
def test_the_pipeline_runs_in_the_faster_ways(changes, tmp_path: Path) -> None:
    plan = make_plan(chunks=24, **changes)
    clip = read_frames(clip_path(), *plan.scenario.resolution)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4", device="cuda")
    assert done.frames == 97
    assert done.records.info.provenance["attention"]


def test_a_benchmark_of_the_card() -> None:
    request = BenchRequest(
        "tiny", "tiny", (128, 192), "cuda", rows=(1, 2), steps=(1,),
        modes=("eager", "graph", "compiled-graph"),
    )  # fmt: skip
    done = bench(request, budget_s=2.0)
    assert done.machine.device == torch.cuda.get_device_name()
    assert done.machine.facts["driver"]
    lines = time_lines(done)
    assert len(lines) == 3 * 2 + 2
    assert all(0 < line.share < 1 for line in lines)
    assert [line.mode for line in rate_lines(done)] == ["eager", "graph", "compiled-graph"]
