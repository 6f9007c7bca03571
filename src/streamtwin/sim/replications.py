"""How far do runs scatter, and how well does so many of them tell the mean?

Replications draw the same random numbers for the same purpose, whatever else a scenario says: run
k of one scenario and run k of another differ by what the scenarios differ by, and less by luck.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from streamtwin.core.errors import ScenarioError
from streamtwin.core.latency import LatencyModel
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.sim.replicas import simulate_deployment

CONFIDENCE = 0.95
"""Of the intervals of means and of mean differences."""

METHOD = "Student's t"

Values = Mapping[str, Sequence[float]]
"""A figure's value in each of several runs, by the figure's name."""

Done = Callable[[], None]
"""Called behind every run."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of runs, and the interval (`low`, `high`) of the mean."""

    mean: float
    std: float
    low: float
    high: float


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures that runs are compared by, from their metrics; seconds, frames/s, a share."""
    latency_s = metrics["latency_s"]
    return {
        "fps": metrics["fps"],
        "period_s": metrics["period_s"],
        "ttff_s": metrics["ttff_s"],
        "latency_s p50": latency_s["p50"],
        "latency_s p95": latency_s["p95"],
        "deadline_miss_rate": metrics["deadline_miss_rate"],
    }


def replicate(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion] = (),
    *,
    count: int,
    done: Done = lambda: None,
) -> dict[str, list[float]]:
    """The figures of runs 1 to *count* of *plan*: each of processes that start anew.

    Raises:
        RunError: a run is too short to have figures.
    """
    values: dict[str, list[float]] = {}
    for run in range(1, count + 1):
        for name, value in figures_of(
            compute_metrics(simulate_deployment(plan, latency, motion, run=run))
        ).items():
            values.setdefault(name, []).append(value)
        done()
    return values


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and interval of the mean of at least two *values*.

    The interval is Student's t, mean -+ t s / sqrt(n): 95 of 100 such sets of runs have the mean
    of all possible runs inside.
    """
    mean, std, count = fmean(values), stdev(values), len(values)
    half = student(count - 1, CONFIDENCE) * std / sqrt(count)
    return Spread(mean, std, mean - half, mean + half)


def student(degrees: int, confidence: float) -> float:
    """Quantile of Student's t of so many *degrees* of freedom, for an interval of *confidence*."""
    return float(stdtrit(degrees, (1 + confidence) / 2))


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the second of two scenarios exceeds the first.

    `paired` takes run by run, `unpaired` takes the runs of each by themselves: the ratio of their
    widths is what common random numbers bring.
    """

    paired: Spread
    unpaired: Spread


def differences(first: Values, second: Values) -> dict[str, Difference]:
    """Compare the runs of two scenarios, which drew the same random numbers, figure by figure.

    Raises:
        ScenarioError: they are not equally many, or fewer than two.
    """
    counts = {len(values) for values in (*first.values(), *second.values())}
    if len(counts) != 1 or min(counts) < 2:
        told = " and ".join(str(count) for count in sorted(counts))
        raise ScenarioError(
            f"{told} replications: runs are compared in pairs, so give both scenarios equally "
            "many, two at least"
        )
    return {name: _difference(first[name], second[name]) for name in first if name in second}


def _difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    paired = spread([after - before for before, after in zip(first, second, strict=True)])
    # Welch's interval with the smaller count's degrees of freedom, which errs on the wide side
    std = sqrt(stdev(first) ** 2 + stdev(second) ** 2)
    half = student(len(first) - 1, CONFIDENCE) * std / sqrt(len(first))
    return Difference(paired, Spread(paired.mean, std, paired.mean - half, paired.mean + half))


def compare_plans(
    plans: tuple[Plan, Plan],
    latencies: tuple[LatencyModel, LatencyModel],
    motion: Sequence[Motion] = (),
    *,
    count: int,
) -> dict[str, Difference]:
    """By how much the second of two *plans* exceeds the first, over *count* pairs of runs.

    Raises:
        ScenarioError: *count* is less than two.
        RunError: a run is too short to have figures.
    """
    first, second = (
        replicate(plan, latency, motion, count=many)
        for plan, latency, many in zip(plans, latencies, repeat(count), strict=False)
    )
    return differences(first, second)
