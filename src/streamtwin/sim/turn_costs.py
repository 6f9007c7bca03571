"""How long does each service take in deployments of one shape, and when is it over then?

What an instant is, is left open: a vector with an element for each deployment (`sim.vector_costs`), or
a place on the tape of one (`sim.tape`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from streamtwin.core.edges import Edge
from streamtwin.core.ops import Op
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item
from streamtwin.sim.costs import PassKey, full_from, pass_key

At = TypeVar("At")
"""An instant of all deployments."""

Lasting = TypeVar("Lasting")
"""Seconds of a service, in the form in which they are added to an instant."""

OpsOf = Callable[[Plan], Sequence[Op]]
"""The same operations in any of the deployments."""


class TurnCosts(ABC, Generic[At, Lasting]):
    """Clocks that go on by expected service times, which are asked for once each; no noise."""

    def __init__(self, plan: Plan) -> None:
        self._full = full_from(plan)
        dedicated = plan.scenario.deployment.dedicated  # then the ends are the VAE's
        self._passing = slice(1, -1) if dedicated else slice(None)
        self._ranks = [stage.rank for stage in plan.stages[self._passing]]
        self._passes: dict[PassKey, Mapping[int, Lasting]] = {}
        self._item: Item | None = None
        self._pass_s: Mapping[int, Lasting] = {}
        self._encodes: dict[bool, Lasting] = {}
        self._decodes: dict[bool, Lasting] = {}
        self._hops: dict[tuple[object, ...], Lasting] = {}

    @abstractmethod
    def start(self) -> At:
        """The instant before anything has happened."""

    @abstractmethod
    def later(self, one: At, other: At) -> At:
        """The later of two instants."""

    @abstractmethod
    def after(self, at: At, seconds: Lasting) -> At:
        """The instant *seconds* after that one."""

    @abstractmethod
    def asked(self, ops: OpsOf, ranks: Sequence[int | None]) -> list[Lasting]:
        """Seconds of each of *ops*, which those *ranks* do, in the form in which they are added.

        None: no rank's card does it, so that none slows it down.
        """

    def passed(self, at: At, stage: Stage, item: Item) -> At:
        """When *stage* has passed *item*."""
        if item is not self._item:  # ranks that are not held up pass an item one after the other
            self._item, self._pass_s = item, self._passes_s(item)
        return self.after(at, self._pass_s[stage.rank])

    def _passes_s(self, item: Item) -> Mapping[int, Lasting]:
        """What every rank with blocks takes for *item*; asked for all at once, as most is shared."""
        key = pass_key(item, self._full, one_session=True)
        known = self._passes.get(key)
        if known is None:
            of = self._passing
            seconds = self.asked(lambda plan: plan.dit_passes(plan.stages[of], item), self._ranks)
            known = self._passes[key] = dict(zip(self._ranks, seconds, strict=True))
        return known

    def encoded(self, at: At, stage: Stage, ordinal: int) -> At:
        """When *stage* has encoded the chunk number *ordinal*."""
        known = self._encodes.get(ordinal == 0)
        if known is None:
            [known] = self.asked(lambda plan: [plan.encode(ordinal)], [stage.rank])
            self._encodes[ordinal == 0] = known
        return self.after(at, known)

    def decoded(self, at: At, stage: Stage, ordinal: int) -> At:
        """When *stage* has decoded the chunk number *ordinal*."""
        known = self._decodes.get(ordinal == 0)
        if known is None:
            [known] = self.asked(lambda plan: [plan.decode(ordinal)], [stage.rank])
            self._decodes[ordinal == 0] = known
        return self.after(at, known)

    def hopped(self, at: At, edge: Edge, item: Item) -> At:
        """When *item* has gone over *edge*: as long as over any that carries the same."""
        key = (edge.activations, edge.results, len(item.rows), item.first)
        known = self._hops.get(key)
        if known is None:
            [known] = self.asked(lambda plan: [plan.hop(item, edge)], [None])
            self._hops[key] = known
        return self.after(at, known)
