"""How long does an item take from a rank to the next, and who waits for whom meanwhile?

A transfer begins when the sender has posted the item and the receiver has posted its receive. In
the reference protocol it does so when it asks for the item, so the whole transfer is exposed.
"""

from collections import deque

import simpy

from streamtwin.core.edges import Edge
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item
from streamtwin.core.slip import NOTHING, Slip
from streamtwin.sim.costs import LinkCosts
from streamtwin.sim.services import ServiceTimes


class Parcel(simpy.Event):
    """An item on its way over a link, made by whoever comes first: sender or receiver.

    It is an event that fires when the item is there, for which both may wait. Times in seconds.
    """

    item: Item
    slip: Slip = NOTHING
    began_s = 0.0
    arrived_s = 0.0
    size_bytes = 0

    @property
    def taken(self) -> simpy.Event:
        """What fires once the receiver has it."""
        return self

    def begin(self, now_s: float, seconds: float) -> None:
        """Let it be there in *seconds*, as a timeout is."""
        self.began_s, self.arrived_s = now_s, now_s + seconds
        self._ok, self._value = True, None
        self.env.schedule(self, delay=seconds)


class Link:
    """One directed hop. The receiver asks for one parcel at a time, so it carries one at a time."""

    def __init__(self, env: simpy.Environment, plan: Plan, edge: Edge, times: ServiceTimes) -> None:
        self.env, self.edge, self.costs = env, edge, LinkCosts(plan, edge, times)
        self.posted: deque[Parcel] = deque()
        """What the sender has posted and the receiver has not asked for."""
        self.asked: Parcel | None = None
        """What the receiver has asked for and the sender has not posted."""

    def post(self, item: Item, slip: Slip) -> Parcel:
        """Hand *item* to the link; its `taken` event fires once the receiver has it."""
        parcel = self.asked or Parcel(self.env)
        parcel.item, parcel.slip = item, slip
        if self.asked is None:
            self.posted.append(parcel)
        else:
            self.asked = None
            self._carry(parcel)
        return parcel

    def ask(self) -> Parcel:
        """Post a receive: the next parcel, which fires when it has arrived."""
        assert self.asked is None, "a receive is posted already"
        if self.posted:
            return self._carry(self.posted.popleft())
        self.asked = Parcel(self.env)
        return self.asked

    def _carry(self, parcel: Parcel) -> Parcel:
        """Sender and receiver are there: let the hop take its time."""
        carriage = self.costs.of(parcel.item)
        parcel.size_bytes = carriage.size_bytes
        parcel.begin(self.env.now, carriage.draw())
        return parcel
