"""How long does each service take in many deployments of one shape? Vectors, looked up once each."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.edges import Edge
from streamtwin.core.latency import LatencyModel
from streamtwin.core.ops import Op
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item
from streamtwin.sim.costs import full_from, pass_key

Seconds = NDArray[np.float64]


class VectorCosts:
    """Expected service times of *plans* of one shape, each on its own *latencies*; no noise."""

    def __init__(self, plans: Sequence[Plan], latencies: Sequence[LatencyModel]) -> None:
        self.plans, self.latencies, self.many = plans, latencies, len(plans)
        self._full = full_from(plans[0])
        self._known: dict[tuple[object, ...], Seconds] = {}
        # deployments that differ in nothing but who predicts their times have the same operations
        self._kind_of = [(id(plan.scenario), id(plan.stages)) for plan in plans]
        self._kinds = dict(zip(self._kind_of, plans, strict=True))
        slowdowns = [plan.scenario.deployment.slowdown for plan in plans]
        self._slower = [
            np.array([slowdown.get(stage.rank, 1.0) for slowdown in slowdowns])
            for stage in plans[0].stages
        ]
        self._places = {stage.rank: place for place, stage in enumerate(plans[0].stages)}

    def start(self) -> Seconds:
        """The clocks of all deployments before anything has happened."""
        return np.zeros(self.many)

    def later(self, one: Seconds, other: Seconds) -> Seconds:
        """Of two instants of each deployment the later."""
        return np.maximum(one, other)

    def pass_s(self, stage: Stage, item: Item) -> Seconds:
        """Seconds in which the stage at that place passes *item*."""
        place = self._places[stage.rank]
        key = ("dit", place, pass_key(item, self._full, one_session=True))
        return self._served(key, place, lambda plan: plan.dit_pass(plan.stages[place], item))

    def encode_s(self, stage: Stage, ordinal: int) -> Seconds:
        """Seconds in which the chunk number *ordinal* is encoded."""
        place = self._places[stage.rank]
        return self._served(("encode", ordinal == 0), place, lambda plan: plan.encode(ordinal))

    def decode_s(self, stage: Stage, ordinal: int) -> Seconds:
        """Seconds in which the chunk number *ordinal* is decoded."""
        place = self._places[stage.rank]
        return self._served(("decode", ordinal == 0), place, lambda plan: plan.decode(ordinal))

    def hop_s(self, edge: Edge, item: Item) -> Seconds:
        """Seconds in which *item* goes over *edge*."""
        key = ("hop", edge, len(item.rows), item.first)
        return self._of(key, lambda plan: plan.hop(item, edge))

    def _served(self, key: tuple[object, ...], place: int, op: Callable[[Plan], Op]) -> Seconds:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self.as_added(self._slower[place] * self._asked(op))
        return known

    def _of(self, key: tuple[object, ...], op: Callable[[Plan], Op]) -> Seconds:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self.as_added(self._asked(op))
        return known

    def _asked(self, op: Callable[[Plan], Op]) -> Seconds:
        asked = {kind: op(plan) for kind, plan in self._kinds.items()}
        pairs = zip(self._kind_of, self.latencies, strict=True)
        return np.array([latency.predict(asked[kind]).mean_s for kind, latency in pairs])

    def as_added(self, seconds: Seconds) -> Seconds:
        """*seconds* of all deployments in the form in which they are added to clocks."""
        return seconds
