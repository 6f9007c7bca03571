"""The benchmark measures the real kernels, each case in its mode."""

import time
from dataclasses import replace

import pytest
import torch
from bench_cases import WAN

from streamtwin.bench.figures import rate_lines, time_lines
from streamtwin.bench.machine import matmul_ceiling
from streamtwin.bench.request import BenchRequest
from streamtwin.bench.run import bench
from streamtwin.bench.runner import BenchRunner
from streamtwin.core.errors import UserError
from streamtwin.core.ops import DitPass
from streamtwin.kernels.compiled import compiled_parts

SMALL = BenchRequest("tiny", "tiny", (32, 48), rows=(1, 3), steps=(2,))


def test_cases_are_of_the_whole_model_in_a_steady_stream():
    passes = [case.op for case in WAN.cases() if isinstance(case.op, DitPass)]
    assert {(op.blocks, op.embeds, op.unembeds) for op in passes} == {(30, True, True)}
    assert {op.kv_tokens for op in passes} == {9360}
    assert sorted(op.rows for op in passes) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert not any(getattr(case.op, "first", False) for case in WAN.cases())


def test_rows_and_steps_are_timed_once_each():
    passes = [case.op.rows for case in SMALL.cases() if isinstance(case.op, DitPass)]
    assert passes == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": (0,)}, "--rows"),
        ({"steps": (5,)}, "--steps"),
        ({"rows": ()}, "--rows"),
        ({"modes": ("fast",)}, "choose one of eager, graph"),
        ({"modes": ("graph",)}, "needs --device cuda"),
    ],
)
def test_refuses_what_it_cannot_time(changes, message):
    with pytest.raises(UserError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize(
    "changes", [{}, {"vae": "taehv-tiny", "attention": "math"}], ids=["wan", "taehv"]
)
def test_a_benchmark_of_this_host(changes):
    done = bench(replace(SMALL, **changes), budget_s=0.5)
    assert done.machine.facts["attention"] == changes.get("attention", "cpu")
    assert done.machine.device == "cpu"
    assert [ceiling.source[:7] for ceiling in done.machine.ceilings] == ["float32"]
    lines = time_lines(done)
    assert all(0 < line.share < 1.2 for line in lines)
    assert [line.count for line in lines if line.what == "pass"] == [1, 2, 3]
    assert [(line.steps, line.reference_fps) for line in rate_lines(done)] == [(2, None)]


class CountingRecord:
    """Stands for a card's recorder: replays by computing again."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, compute):
        self.recorded += 1
        outputs = compute()

        def replay():
            self.replayed += 1
            for output, value in zip(outputs, compute(), strict=True):
                output.copy_(value)

        return replay, outputs


def test_each_case_runs_in_its_mode():
    """A card's modes on this host: the requests that a CPU refuses, performed all the same."""
    modes = ("eager", "graph", "compiled-graph")
    record, compiled = CountingRecord(), []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    runner = BenchRunner(
        SMALL.plan, "cpu", modes, record=lambda: record, compiler=lambda: compiled_parts(backend)
    )
    cases = [
        replace(case, tag=mode)
        for case in SMALL.cases()
        for mode in modes
        if isinstance(case.op, DitPass)
    ]
    for _ in range(2):
        assert all(runner.time_s(case, time.perf_counter) > 0 for case in cases)
    assert record.recorded == 2 * 3, "rows by mode that records"
    assert record.replayed == 2 * record.recorded
    assert len(compiled) == 3 * 3, "parts by rows"


def test_the_ceiling_is_that_of_the_fastest_product():
    lasted = [0.5, 4.0, 3.0, 2.0, 5.0, *[3.0] * 6]  # the first one, faster still, is a warm-up
    ticks = iter(
        [instant for turn, s in enumerate(lasted) for instant in (10 * turn, 10 * turn + s)]
    )
    ceiling = matmul_ceiling("cpu", lambda: next(ticks), lambda: None)
    assert ceiling.flops_per_s == pytest.approx(2 * 1024**3 / 2.0)
