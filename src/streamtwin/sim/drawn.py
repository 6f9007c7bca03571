"""What would runs be like, if what calibration leaves open were drawn anew for each?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np

from streamtwin.core.fleet import through
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.motion import Motion
from streamtwin.core.ops import FAMILIES, Op, family_of
from streamtwin.core.plan import Plan
from streamtwin.core.repeats import steady_items
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.replications import figures_of
from streamtwin.sim.screen import together, walks

COVERAGE = 0.9
"""Share of runs that an interval is meant to cover: that of a prediction's own."""

SIGMAS = NormalDist().inv_cdf((1 + COVERAGE) / 2)
"""Standard deviations from the middle to an end of a prediction's interval."""

LEAST = 0.01
"""What a low end counts for at least, relative to the mean: nothing takes no time at all."""

FIRST = 1_000_000
"""Number of the first draw, far from those of replications, so that they share no luck."""


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

    def host(self, rank: int) -> HostState:
        """That of the model drawn around; nothing, where services do not scatter."""
        return self.latency.host(rank) if self.scatters else HostState()

    def _factor(self, op: Op, told: Prediction) -> float:
        if told.mean_s <= 0:
            return 1.0
        family = list(FAMILIES.values()).index(family_of(op))
        luck = float(np.random.default_rng([self.seed, family, self.draw]).normal())
        end_s = told.high_s if luck >= 0 else max(told.low_s, LEAST * told.mean_s)
        whole = log(end_s / told.mean_s) / SIGMAS
        between = sqrt(log(1 + self.latency.between(op) ** 2))
        return exp(sqrt(max(0.0, whole**2 - between**2)) * luck)


def drawn_runs(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion],
    count: int,
    done: Callable[[], None] = lambda: None,
) -> list[dict[str, float]]:
    """The figures of *count* runs of *plan*, each on service times drawn anew.

    Where no service scatters and decisions follow from the deployment's shape, all are computed at
    once; else one by one, and *done* is called behind each.

    Raises:
        RunError: a run is too short to have figures.
    """
    draws = [_drawn(plan, latency, FIRST + index) for index in range(count)]
    if walks(plan) is None and not _scatters(plan, latency):
        found = together([plan] * count, draws)
        for _ in found:
            done()
        return [one.by_name for one in found]
    runs = []
    for index, drawn in enumerate(draws):
        runs.append(_simulated(plan, drawn, motion, FIRST + index))
        done()
    return runs


def _drawn(plan: Plan, latency: LatencyModel, draw: int) -> LatencyModel:
    scenario = plan.scenario
    return through(
        lambda model: DrawnLatency(model, scenario.seed, draw, scenario.service_noise), latency
    )


def _simulated(
    plan: Plan, drawn: LatencyModel, motion: Sequence[Motion], run: int
) -> dict[str, float]:
    # the same sessions come: their luck is no part of what calibration leaves open
    records = simulate_deployment(
        plan, drawn, motion, noise=True, run=run, engine="auto", redraw=False
    )
    return figures_of(compute_metrics(records))


def _scatters(plan: Plan, latency: LatencyModel) -> bool:
    """Whether services of *plan* differ within a run, or from one run to the next."""
    item = steady_items(plan, [0], 1)[0]
    ops: list[Op] = [plan.encode(0), plan.encode(1), plan.decode(0), plan.decode(1)]
    ops += [plan.dit_pass(stage, item) for stage in plan.stages if not stage.vae_only]
    ops += [plan.hop(item, edge) for edge in plan.edges]
    return latency.host(0).trace is not None or any(
        latency.noise(op) or latency.between(op) for op in ops
    )
