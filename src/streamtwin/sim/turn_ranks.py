"""What does one rank of many like deployments do? Its verbs, on instants of whatever form."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic

from streamtwin.core.edges import Edge, inward, outward
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item
from streamtwin.sim.turn_costs import At, TurnCosts


class TurnLink(Generic[At]):
    """A hop: instants at which parcels are posted, asked for, and there."""

    __slots__ = ("arrived", "asked_s", "changes", "costs", "edge", "posted", "taken", "under_way")

    def __init__(self, edge: Edge, costs: TurnCosts[At, Any]) -> None:
        self.edge, self.costs = edge, costs
        self.arrived: deque[tuple[Item, At]] = deque()
        """What the receiver has not looked at yet."""
        self.taken: deque[At] = deque()
        """When parcels were taken for which the sender has not waited yet."""
        self.changes = 0
        """How often anything happened to it."""
        self.under_way = 0
        """Parcels that the sender has posted and not waited for."""
        self.posted: deque[tuple[Item, At]] = deque()
        self.asked_s: At | None = None

    def post(self, item: Item, at_s: At) -> None:
        """Hand over *item*."""
        self.posted.append((item, at_s))
        self.under_way += 1
        self.changes += 1
        if self.asked_s is not None:
            self._meet(self.asked_s)

    def ask(self, at_s: At) -> None:
        """Post a receive."""
        self.changes += 1
        if self.posted:
            self._meet(at_s)
        else:
            self.asked_s = at_s

    def _meet(self, asked_s: At) -> None:
        item, posted_s = self.posted.popleft()
        both_s = self.costs.later(posted_s, asked_s)
        arrived_s = self.costs.hopped(both_s, self.edge, item)
        self.asked_s = None
        self.arrived.append((item, arrived_s))
        self.taken.append(arrived_s)


Steps = Iterator[None]
"""Gives way where what comes next is not known yet."""


class TurnRank(Generic[At]):
    """One rank of all deployments, and its clocks."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        costs: TurnCosts[At, Any],
        links: Mapping[Edge, TurnLink[At]],
        emit: Callable[[int, At], None],
    ) -> None:
        self.stage, self.costs, self.emit = stage, costs, emit
        self.clock_s = costs.start()
        edges = tuple(links)
        into = inward(edges, stage.rank)
        self.inward = None if into is None else links[into]
        self.outward = [links[edge] for edge in outward(edges, stage.rank)]
        self.item: Item | None = None
        """What was received last."""
        self.waits_on: Edge | None = None
        """Where it gave way to send."""
        self.passes, self.decodes = not stage.vae_only, stage.decodes
        self.decodes_first = plan.scenario.deployment.decodes_before_send
        self.ahead = plan.scenario.deployment.overlaps
        self.steps = plan.steps
        if self.inward is not None and self.ahead:
            self.inward.ask(self.clock_s)

    def ask(self) -> TurnLink[At]:
        """Post a receive of the next item, if none is; return the link on which it arrives."""
        link = self.inward
        assert link is not None
        if not self.ahead:
            link.ask(self.clock_s)
        return link

    def take(self, link: TurnLink[At]) -> Item:
        """Take what has arrived on *link*."""
        item, arrived_s = link.arrived.popleft()
        self.item = item
        link.changes += 1
        self.clock_s = self.costs.later(self.clock_s, arrived_s)
        if self.ahead:
            link.ask(self.clock_s)
        return item

    def receive(self) -> Steps:
        """Take the next item in."""
        link = self.ask()
        while not link.arrived:
            yield
        self.take(link)

    def forward(self, item: Item) -> None:
        """Pass *item* through the blocks."""
        if self.passes:
            self.clock_s = self.costs.passed(self.clock_s, self.stage, item)

    def send(self, item: Item) -> Steps:
        """Post *item* on each link once there is room on it."""
        for link in self.outward:
            carried = item.results(self.steps) if link.edge.results else item
            if carried is None:
                continue
            if link.under_way == link.edge.depth:
                if not link.taken:
                    self.waits_on = link.edge
                    while not link.taken:
                        yield
                    self.waits_on = None
                self.clock_s = self.costs.later(self.clock_s, link.taken.popleft())
                link.under_way -= 1
                link.changes += 1
            link.post(carried, self.clock_s)

    def finish(self, item: Item) -> None:
        """Decode what is done of *item*, if this rank decodes."""
        if self.decodes:
            for position in item.finished(self.steps):
                ordinal = item.rows[position].ordinal
                self.clock_s = self.costs.decoded(self.clock_s, self.stage, ordinal)
                self.emit(ordinal, self.clock_s)

    def follow(self) -> Steps:
        """Receive an item, pass it through the blocks, hand it on."""
        first = self.decodes_first
        while True:
            link = self.ask()
            while not link.arrived:  # as `receive` does, which is one more generator for each item
                yield
            item = self.take(link)
            self.forward(item)
            if first:
                self.finish(item)
            yield from self.send(item)
            if not first:
                self.finish(item)
