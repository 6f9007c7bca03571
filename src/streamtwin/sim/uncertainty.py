"""Between which figures will a run lie, given what the calibration leaves open?

A prediction's interval has two parts: how wrong the fit may be, which all ranks share, and what
runs differ by, of which a host draws one share and each rank the rest. Both are drawn anew a few times, the deployment is
simulated with each draw, and the interval is Student's t for one run more. Taking every service at
the end of its own interval at once was rejected: no run is unlucky in everything, so that covers
nearly all runs instead of 90 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, exp, log, sqrt
from statistics import fmean, stdev

from streamtwin.core.latency import LatencyModel
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.core.scheduler import first_look
from streamtwin.sim.drawn import COVERAGE, drawn_runs
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.replications import figures_of, student
from streamtwin.sim.services import Level

DRAWS = 32
"""Simulations behind an interval. Student's t makes up for there being few."""

STEADY_CHUNKS = 96
"""Chunks of a draw behind its warm-up: the figures are relative to a run equally long."""

LIVE = 4
"""A live stream is cut to so many times the length, since its queue takes a while to be as usual."""

SAME, FLOOR = 0.01, 0.1
"""By how much figures may differ, relative to themselves or to this, that are taken for the same."""


def calibration_intervals(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion],
    found: dict[str, float],
    done: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """The interval of each figure *found* of the expected run of *plan*, by the figure's name.

    *done* is called behind each of `DRAWS` simulations.

    Raises:
        RunError: a run is too short to have figures.
    """
    short, expected = _shortened(plan, latency, motion, found)
    runs = drawn_runs(short, latency, motion, DRAWS, done)
    return {
        name: _interval(name, value, expected[name], [run[name] for run in runs])
        for name, value in found.items()
    }


def _interval(name: str, value: float, expected: float, drawn: Sequence[float]) -> list[float]:
    """Student's t for one run more than *drawn*, as a factor of what was *expected*; around *value*.

    Shares are shifted instead, and stay between 0 and 1.
    """
    share = name == "deadline_miss_rate"
    if share or min(*drawn, expected, value) <= 0:
        moved = [value + one - expected for one in drawn]
        low, high = _ends(moved)
        low, high = (max(0.0, low), min(1.0, high)) if share else (low, high)
    else:
        low, high = (exp(end) for end in _ends([log(value * one / expected) for one in drawn]))
    return [min(low, value), max(high, value)]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    middle = fmean(values)
    half = student(len(values) - 1, COVERAGE) * stdev(values) * sqrt(1 + 1 / len(values))
    return middle - half, middle + half


def _shortened(
    plan: Plan, latency: LatencyModel, motion: Sequence[Motion], found: dict[str, float]
) -> tuple[Plan, dict[str, float]]:
    """*plan* with a shorter stream where that shows the same, and what is expected of it.

    It does for one session whose input always waits. Of a live input the backlog may grow as long as
    the stream lasts: there a shorter one must have the same figures, and keep up with its camera even
    where every service lies at the high end of its interval, so that no draw has a growing backlog.
    """
    scenario = plan.scenario
    partition, workload = scenario.deployment.partition, scenario.workload
    chunks = plan.warmup_chunks + plan.tail_chunks + STEADY_CHUNKS
    moves = partition.trigger == "continuous" or partition.schedule
    if partition.trigger == "once":
        chunks += first_look(plan) + plan.lanes
    driven = scenario.trouble.any or workload.motion or not workload.camera.exact
    crowd = workload.sessions > 1 or workload.visits
    if workload.source_fps is not None:
        chunks *= LIVE
    chunks = max(chunks, _rounds(latency, found))
    if crowd or moves or driven or scenario.chunks <= chunks:
        return plan, _expected(plan, latency, motion)
    shorter = workload.model_copy(update={"chunks": chunks, "duration_s": None})
    short = replace(plan, scenario=scenario.model_copy(update={"workload": shorter}))
    expected = _expected(short, latency, motion)
    if workload.source_fps is None:
        return short, expected
    slowest = _expected(short, latency, motion, "high")
    if _alike(expected, found) and _alike({"fps": slowest["fps"]}, {"fps": found["fps"]}):
        return short, expected
    return plan, _expected(plan, latency, motion)


def _rounds(latency: LatencyModel, found: dict[str, float]) -> int:
    """Chunks in which the host's pace is played twice: a shorter stream differs more from others."""
    trace = latency.host(0).trace
    return 0 if trace is None else ceil(2 * trace.length_s / found["period_s"])


def _expected(
    plan: Plan, latency: LatencyModel, motion: Sequence[Motion], level: Level = "mean"
) -> dict[str, float]:
    return figures_of(compute_metrics(simulate_deployment(plan, latency, motion, level=level)))


def _alike(expected: dict[str, float], found: dict[str, float]) -> bool:
    """Whether all figures *found* of the whole stream are those of a shorter one."""
    return all(
        abs(expected[name] - value) <= SAME * max(abs(value), FLOOR)
        for name, value in found.items()
    )
