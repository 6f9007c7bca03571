"""What does one rank of many like deployments do? Its verbs on vectors of instants."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.edges import Edge
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item
from streamtwin.sim.vector_costs import VectorCosts

Instants = NDArray[np.float64]
"""Seconds since the start of the stream, one of each deployment."""


class VectorLink:
    """A hop: instants at which parcels are posted, asked for, and there."""

    def __init__(self, edge: Edge, costs: VectorCosts) -> None:
        self.edge, self.costs = edge, costs
        self.arrived = deque[tuple[Item, Instants]]()
        """What the receiver has not looked at yet."""
        self.taken = deque[Instants]()
        """When parcels were taken for which the sender has not waited yet."""
        self.changes = 0
        """How often anything happened to it."""
        self.under_way = 0
        """Parcels that the sender has posted and not waited for."""
        self._posted = deque[tuple[Item, Instants]]()
        self._asked_s: Instants | None = None

    def post(self, item: Item, at_s: Instants) -> None:
        """Hand over *item*."""
        self._posted.append((item, at_s))
        self.under_way += 1
        self.changes += 1
        self._meet()

    def ask(self, at_s: Instants) -> None:
        """Post a receive."""
        self._asked_s = at_s
        self.changes += 1
        self._meet()

    def _meet(self) -> None:
        if self._asked_s is None or not self._posted:
            return
        item, posted_s = self._posted.popleft()
        both_s = self.costs.later(posted_s, self._asked_s)
        arrived_s = both_s + self.costs.hop_s(self.edge, item)
        self._asked_s = None
        self.arrived.append((item, arrived_s))
        self.taken.append(arrived_s)


Steps = Iterator[None]
"""Gives way where what comes next is not known yet."""


class VectorRank:
    """One rank of all deployments, and its clocks."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        costs: VectorCosts,
        links: Mapping[Edge, VectorLink],
        emit: Callable[[int, Instants], None],
    ) -> None:
        self.stage, self.costs, self.emit = stage, costs, emit
        self.clock_s: Instants = costs.start()
        into = plan.inward(stage.rank)
        self.inward = None if into is None else links[into]
        self.outward = [links[edge] for edge in plan.outward(stage.rank)]
        self.decodes_first = plan.scenario.deployment.decodes_before_send
        self.ahead = plan.scenario.deployment.overlaps
        self.steps = plan.steps
        if self.inward is not None and self.ahead:
            self.inward.ask(self.clock_s)

    def receive(self) -> Iterator[None]:
        """Take the next item in; `item` is it then."""
        link = self.inward
        assert link is not None
        if not self.ahead:
            link.ask(self.clock_s)
        while not link.arrived:
            yield
        self.item, arrived_s = link.arrived.popleft()
        link.changes += 1
        self.clock_s = self.costs.later(self.clock_s, arrived_s)
        if self.ahead:
            link.ask(self.clock_s)

    def forward(self, item: Item) -> None:
        """Pass *item* through the blocks."""
        if not self.stage.vae_only:
            self.clock_s = self.clock_s + self.costs.pass_s(self.stage, item)

    def send(self, item: Item) -> Steps:
        """Post *item* on each link once there is room on it."""
        for link in self.outward:
            carried = item.results(self.steps) if link.edge.results else item
            if carried is None:
                continue
            if link.under_way == link.edge.depth:
                while not link.taken:
                    yield
                self.clock_s = self.costs.later(self.clock_s, link.taken.popleft())
                link.under_way -= 1
                link.changes += 1
            link.post(carried, self.clock_s)

    def finish(self, item: Item) -> None:
        """Decode what is done of *item*, if this rank decodes."""
        for position in item.finished(self.steps) if self.stage.decodes else ():
            row = item.rows[position]
            self.clock_s = self.clock_s + self.costs.decode_s(self.stage, row.ordinal)
            self.emit(row.ordinal, self.clock_s)

    def follow(self) -> Steps:
        """Receive an item, pass it through the blocks, hand it on."""
        first = self.decodes_first
        while True:
            yield from self.receive()
            item = self.item
            self.forward(item)
            if first:
                self.finish(item)
            yield from self.send(item)
            if not first:
                self.finish(item)
