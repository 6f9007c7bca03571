"""How is a request measured, from its process to its result?"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from streamtwin.bench.machine import Machine, read_machine
from streamtwin.bench.request import BenchRequest
from streamtwin.bench.runner import BenchRunner
from streamtwin.calibrate.environment import Environment, read_environment
from streamtwin.calibrate.harness import Measurement, measure
from streamtwin.runtime.devices import tune
from streamtwin.runtime.processes import RankContext, run_ranks

START_TIMEOUT_S = 600.0
"""Seconds until the weights must be there: 14 billion numbers are drawn."""

DEFAULT_BUDGET_S = {"cpu": 8.0, "cuda": 30.0}
"""Seconds of measuring, beyond what is compiled and recorded before."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured, on what, when."""

    request: BenchRequest
    machine: Machine
    environment: Environment
    measurements: tuple[Measurement, ...]


def bench(
    request: BenchRequest, *, budget_s: float, on_progress: Callable[[float], None] | None = None
) -> Bench:
    """Measure *request* for *budget_s* seconds in a process of its own, as a rank is.

    Each case gets its least number of times even if that takes longer. Whatever the process
    allocated goes with it.

    Raises:
        RunError: the process failed or died.
    """
    (done,) = run_ranks(
        measure_bench,
        1,
        (request, budget_s),
        pin=request.device == "cpu",
        start_timeout_s=START_TIMEOUT_S,
        on_progress=lambda _, share: on_progress(share) if on_progress else None,
    )
    assert isinstance(done, Bench)
    return done


def measure_bench(context: RankContext, request: BenchRequest, budget_s: float) -> Bench:
    """Measure *request*; the target of `run_ranks`."""
    tune(request.device)
    runner = BenchRunner(request.plan, request.device, request.modes)
    whole, clock = runner.kernels.whole, time.perf_counter
    whole.dit.choose_attention(request.attention)
    machine = read_machine(request.device, whole.dit.backends, clock, whole.synchronize)
    cases = request.cases()
    for case in cases:  # what the first time compiles and records is no part of the budget
        runner.time_s(case, clock)
    context.ready()
    measured = measure(
        cases,
        runner,
        clock,
        budget_s,
        context.progress,
        core_clock=time.thread_time if request.device == "cpu" else None,
        seed=request.seed,
    )
    accelerator = None if request.device == "cpu" else machine.device
    return Bench(request, machine, read_environment(accelerator), tuple(measured))
