"""How long does an item take from a rank to the next, and who waits for whom meanwhile?

A transfer begins when the sender has posted the item and the receiver has posted its receive. In
the reference protocol it does so when it asks for the item, so the whole transfer is exposed.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

from streamtwin.core.edges import Edge
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item
from streamtwin.sim.services import ServiceTimes


@dataclass(slots=True)
class Parcel:
    """An item on a link; its transfer begins at `began_s`."""

    item: Item
    taken: simpy.Event
    began_s: float = 0.0
    arrived_s: float = 0.0


class Link:
    """One directed hop; carries one parcel at a time."""

    def __init__(self, env: simpy.Environment, plan: Plan, edge: Edge, times: ServiceTimes) -> None:
        self.env, self.plan, self.edge, self.times = env, plan, edge, times
        self.posted: simpy.Store = simpy.Store(env)
        self.asked: simpy.Store = simpy.Store(env)

    def post(self, item: Item) -> Parcel:
        """Hand *item* to the link; its `taken` event fires once the receiver has it."""
        parcel = Parcel(item, self.env.event())
        self.posted.put(parcel)
        return parcel

    def ask(self) -> simpy.Event:
        """Post a receive for the next parcel; the event fires with it when it has arrived."""
        arrival = self.env.event()
        self.asked.put(arrival)
        return arrival

    def carry(self) -> Generator[simpy.Event, Any, None]:
        """The link's process: bring sender and receiver together, then take the hop's time."""
        while True:
            arrival = yield self.asked.get()
            parcel = yield self.posted.get()
            parcel.began_s = self.env.now
            yield self.env.timeout(self.times(self.plan.hop(parcel.item, self.edge)))
            parcel.arrived_s = self.env.now
            parcel.taken.succeed()
            arrival.succeed(parcel)
