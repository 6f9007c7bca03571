"""Between which figures will a run lie, given what the calibration leaves open?

A prediction's interval has two parts: how wrong the fit may be, which all ranks share, and what
runs differ by, which each rank draws for itself. Both are drawn anew a few times, the deployment is
simulated with each draw, and the interval is Student's t for one run more. Taking every service at
the end of its own interval at once was rejected: no run is unlucky in everything, so that covers
nearly all runs instead of 90 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log, sqrt
from statistics import NormalDist, fmean, stdev

import numpy as np

from streamtwin.core.fleet import through
from streamtwin.core.latency import LatencyModel, Prediction, Provenance
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.motion import Motion
from streamtwin.core.ops import FAMILIES, Op, family_of
from streamtwin.core.plan import Plan
from streamtwin.core.replayed import PaceTrace
from streamtwin.core.scheduler import first_look
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.replications import figures_of, student
from streamtwin.sim.services import Level

COVERAGE = 0.9
"""Share of runs that an interval is meant to cover: that of a prediction's own."""

DRAWS = 32
"""Simulations behind an interval. Student's t makes up for there being few."""

FIRST = 1_000_000
"""Number of the first draw, far from those of replications, so that they share no luck."""

STEADY_CHUNKS = 96
"""Chunks of a draw behind its warm-up: the figures are relative to a run equally long."""

LIVE = 4
"""A live stream is cut to so many times the length, since its queue takes a while to be as usual."""

SAME, FLOOR = 0.01, 0.1
"""By how much figures may differ, relative to themselves or to this, that are taken for the same."""

SIGMAS = NormalDist().inv_cdf((1 + COVERAGE) / 2)
"""Standard deviations from the middle to an end of a prediction's interval."""

LEAST = 0.01
"""What a low end counts for at least, relative to the mean: nothing takes no time at all."""


@dataclass(frozen=True, slots=True)
class DrawnLatency:
    """*latency* as it may really be: each family off by a factor out of its intervals.

    The part of an interval that runs differ by is left out, because `ServiceTimes` draws that.
    """

    latency: LatencyModel
    seed: int
    draw: int
    scatters: bool
    """Whether services scatter within a run."""
    _known: dict[Op, Prediction] = field(default_factory=dict)

    @property
    def provenance(self) -> Provenance:
        """That of the model drawn around."""
        return self.latency.provenance

    def predict(self, op: Op) -> Prediction:
        """The drawn time of *op*, with nothing left open."""
        if op not in self._known:
            told = self.latency.predict(op)
            mean_s = told.mean_s * self._factor(op, told)
            self._known[op] = replace(told, mean_s=mean_s, low_s=mean_s, high_s=mean_s)
        return self._known[op]

    def noise(self, op: Op) -> Sequence[float]:
        """That of the model drawn around, or none."""
        return self.latency.noise(op) if self.scatters else ()

    def between(self, op: Op) -> float:
        """That of the model drawn around."""
        return self.latency.between(op)

    def pace(self, rank: int) -> PaceTrace | None:
        """That of the model drawn around, or none."""
        return self.latency.pace(rank) if self.scatters else None

    def _factor(self, op: Op, told: Prediction) -> float:
        if told.mean_s <= 0:
            return 1.0
        family = list(FAMILIES.values()).index(family_of(op))
        luck = float(np.random.default_rng([self.seed, family, self.draw]).normal())
        end_s = told.high_s if luck >= 0 else max(told.low_s, LEAST * told.mean_s)
        whole = log(end_s / told.mean_s) / SIGMAS
        between = sqrt(log(1 + self.latency.between(op) ** 2))
        return exp(sqrt(max(0.0, whole**2 - between**2)) * luck)


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
    runs = []
    for index in range(DRAWS):
        runs.append(_drawn(short, latency, motion, FIRST + index))
        done()
    return {
        name: _interval(name, value, expected[name], [run[name] for run in runs])
        for name, value in found.items()
    }


def _drawn(
    plan: Plan, latency: LatencyModel, motion: Sequence[Motion], draw: int
) -> dict[str, float]:
    scenario = plan.scenario
    drawn = through(
        lambda model: DrawnLatency(model, scenario.seed, draw, scenario.service_noise), latency
    )
    # the same sessions come: their luck is no part of what calibration leaves open
    records = simulate_deployment(
        plan, drawn, motion, noise=True, run=draw, engine="auto", redraw=False
    )
    return figures_of(compute_metrics(records))


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
