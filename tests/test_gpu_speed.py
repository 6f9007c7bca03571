"""On a CUDA card: passes are recorded, never wait, and the benchmark measures them."""

from pathlib import Path

import pytest
import torch

from builders import make_plan, stream
from streamtwin.bench.figures import rate_lines, time_lines
from streamtwin.bench.request import BenchRequest
from streamtwin.bench.run import bench
from streamtwin.core.layout import lay_out
from streamtwin.core.library import clip_path
from streamtwin.core.ring import Item
from streamtwin.core.scenario_file import check_scenario
from streamtwin.kernels.rehearsal import record_ahead
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


def begin(kernels: StageKernels) -> dict[int, SessionState]:
    """States of all sessions, with their passes recorded."""
    states = {s: kernels.new_session(s) for s in range(kernels.plan.scenario.workload.sessions)}
    record_ahead(kernels, states)
    return states


def outcome(kernels: StageKernels, items: list[Item]) -> list[torch.Tensor]:
    states = begin(kernels)
    return [
        kernels.run(states, item, some_work(kernels, item)).latents.float().cpu() for item in items
    ]


REFRESHED = {"sink_refresh": "kv_similarity", "sink_threshold": 0.98}
STREAMS = {
    "one session": {"chunks": 60},
    "two sessions": {"chunks": 60, "sessions": 2, "source_fps": 16},
    "refreshed sinks": {"chunks": 60, "conditioning": REFRESHED},
}


@pytest.mark.parametrize(
    ("changes", "bound"),
    [({"cuda_graph": True}, 1e-3), ({"compile": True}, 3e-2), ({"cuda_graph": True, "compile": True}, 3e-2)],
    ids=["graph", "compiled", "compiled-graph"],
)  # fmt: skip
@pytest.mark.parametrize("several", STREAMS.values(), ids=list(STREAMS))
def test_faster_ways_compute_what_eager_passes_compute(changes, bound, several) -> None:
    if "conditioning" in several and "compile" in changes:
        pytest.skip("a sink close to the threshold may go either way")
    items = stream(make_plan(steps=2, **several), 40)
    results = []
    for way in ({}, changes):
        plan = make_plan(steps=2, **several, **way)
        kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
        results.append(outcome(kernels, items))
        if plan.scenario.deployment.cuda_graph:
            assert kernels.passes.recorded is not None
            assert len(kernels.passes.recorded) == plan.scenario.workload.sessions**2
            assert kernels.passes.recorded.replayed > 20
    for eager, other in zip(*results, strict=True):
        assert float((eager - other).norm() / eager.norm()) < bound


@pytest.mark.parametrize("choice", ["cudnn", "flash", "efficient", "math"])
def test_every_attention_computes_the_same(choice: str) -> None:
    items = stream(make_plan(steps=2), 12)
    results = []
    for way in ("auto", choice):
        plan = make_plan(steps=2, attention=way)
        results.append(outcome(StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16), items))
    for auto, other in zip(*results, strict=True):
        assert float((auto - other).norm() / auto.norm()) < 3e-2


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("several", STREAMS.values(), ids=list(STREAMS))
def test_a_pass_never_waits_for_the_card(recorded, several) -> None:
    plan = make_plan(steps=2, cuda_graph=recorded, **several)
    kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
    states = begin(kernels)
    items = stream(plan, 40)
    works = [some_work(kernels, item) for item in items]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for item, work in zip(items, works, strict=True):
            kernels.run(states, item, work)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()


def test_a_session_that_leaves_takes_its_recordings_along() -> None:
    plan = make_plan(steps=2, sessions=2, cuda_graph=True)
    kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
    states = begin(kernels)
    recorded = kernels.passes.recorded
    assert recorded is not None
    assert len(recorded) == 4
    del states[1]
    assert len(recorded) == 1


@pytest.mark.parametrize("model", ["wan2.1-1.3b", "wan2.1-14b"])
def test_full_sizes_are_recorded(model) -> None:
    data = {"model": model, "vae": "tiny", "resolution": [480, 832], "workload": {"chunks": 20}}
    deployment = {"steps": 1, "cuda_graph": True}
    plan = lay_out(check_scenario({**data, "deployment": deployment}, "x"), itemsize=2)
    kernels = StageKernels(plan, plan.stages[0], "cuda", torch.bfloat16)
    assert all(bool(torch.isfinite(out).all()) for out in outcome(kernels, stream(plan, 9)))
    assert kernels.passes.recorded is not None
    assert kernels.passes.recorded.replayed == 9 - 4


@pytest.mark.parametrize("changes", [{"cuda_graph": True}, {"cuda_graph": True, "compile": True}])
def test_the_pipeline_runs_in_the_faster_ways(changes, tmp_path: Path) -> None:
    plan = make_plan(chunks=24, **changes)
    clip = read_frames(clip_path(), *plan.scenario.resolution)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4", device="cuda")
    assert done.frames == 97
    assert done.records.info.provenance["attention"]
    assert not done.records.info.provenance["passes"].startswith("0 replayed")


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
