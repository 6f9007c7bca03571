"""How long does each service take in many deployments of one shape? Vectors, one element for each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.sim.turn_costs import OpsOf, TurnCosts

Seconds = NDArray[np.float64]
Instants = NDArray[np.float64]
"""Seconds since the start of the stream, one of each deployment."""


class VectorCosts(TurnCosts[Instants, Seconds]):
    """Expected service times of *plans* of one shape, each on its own *latencies*; no noise."""

    def __init__(self, plans: Sequence[Plan], latencies: Sequence[LatencyModel]) -> None:
        super().__init__(plans[0])
        self.latencies, self.many = latencies, len(plans)
        # deployments that differ in nothing but who predicts their times have the same operations
        self._kind_of = [(id(plan.scenario), id(plan.stages)) for plan in plans]
        self._kinds = dict(zip(self._kind_of, plans, strict=True))
        slowdowns = [plan.scenario.deployment.slowdown for plan in plans]
        self._slower = {
            stage.rank: np.array([slowdown.get(stage.rank, 1.0) for slowdown in slowdowns])
            for stage in plans[0].stages
        }

    def start(self) -> Instants:
        """The clocks of all deployments before anything has happened."""
        return np.zeros(self.many)

    def later(self, one: Instants, other: Instants) -> Instants:
        """Of two instants of each deployment the later."""
        return np.maximum(one, other)

    def after(self, at: Instants, seconds: Seconds) -> Instants:
        """What the clocks show *seconds* later."""
        return at + seconds

    def asked(self, ops: OpsOf, ranks: Sequence[int | None]) -> list[Seconds]:
        """What each deployment's latency model predicts, in its own row of each vector."""
        of_kind = {kind: ops(plan) for kind, plan in self._kinds.items()}
        pairs = list(zip(self._kind_of, self.latencies, strict=True))
        found = list[Seconds]()
        for place, rank in enumerate(ranks):
            mean_s = [latency.predict(of_kind[kind][place]).mean_s for kind, latency in pairs]
            seconds = np.array(mean_s)
            found.append(seconds if rank is None else self._slower[rank] * seconds)
        return found
