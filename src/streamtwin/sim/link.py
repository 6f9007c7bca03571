"""How long does an item take from a rank to the next, and who waits for whom meanwhile?

A transfer begins when the sender has posted the item and the receiver has posted its receive. In
the reference protocol it does so when it asks for the item, so the whole transfer is exposed.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from streamtwin.core.edges import Edge
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item
from streamtwin.core.slip import Slip
from streamtwin.sim.costs import LinkCosts
from streamtwin.sim.services import ServiceTimes


class Parcel(Protocol):
    """An item on its way over a link, made by whoever comes first: sender or receiver.

    Both may wait for it: it is over for the one when it has been taken, for the other when it has
    arrived, which is the same instant. Times in seconds of the run.
    """

    item: Item
    slip: Slip
    met_s: float
    """When the one of the two that came first was there."""
    began_s: float
    arrived_s: float
    size_bytes: int

    @property
    def taken(self) -> object:
        """What the sender waits for."""
        ...

    @property
    def processed(self) -> bool:
        """Whether it is known to be over, so that nobody needs to wait."""
        ...

    def begin(self, began_s: float, seconds: float) -> None:
        """Let it be there *seconds* after *began_s*."""
        ...


class Link:
    """One directed hop. The receiver asks for one parcel at a time, so it carries one at a time.

    *parcel* makes one, in the engine's own way of waiting.
    """

    def __init__(
        self, plan: Plan, edge: Edge, times: ServiceTimes, parcel: Callable[[], Parcel]
    ) -> None:
        self.edge, self.costs, self._parcel = edge, LinkCosts(plan, edge, times), parcel
        self._pace = plan.scenario.trouble.pace_between(edge.sender, edge.receiver)
        self.posted: deque[Parcel] = deque()
        """What the sender has posted and the receiver has not asked for."""
        self.asked: Parcel | None = None
        """What the receiver has asked for and the sender has not posted."""

    def post(self, item: Item, slip: Slip, now_s: float) -> Parcel:
        """Hand *item* to the link at *now_s*; it is taken once the receiver has it."""
        parcel, self.asked = self.asked, None
        if parcel is not None:
            parcel.item, parcel.slip = item, slip
            return self._carry(parcel, now_s)
        parcel = self._parcel()
        parcel.item, parcel.slip, parcel.met_s = item, slip, now_s
        self.posted.append(parcel)
        return parcel

    def ask(self, now_s: float) -> Parcel:
        """Post a receive at *now_s*: the next parcel, which arrives some time."""
        assert self.asked is None, "a receive is posted already"
        if self.posted:
            return self._carry(self.posted.popleft(), now_s)
        self.asked = self._parcel()
        self.asked.met_s = now_s
        return self.asked

    def _carry(self, parcel: Parcel, now_s: float) -> Parcel:
        """Sender and receiver are there: let the hop take its time."""
        carriage = self.costs.of(parcel.item)
        parcel.size_bytes = carriage.size_bytes
        began_s, seconds = max(parcel.met_s, now_s), carriage.draw()
        if self._pace is not None:
            seconds = self._pace.takes_s(began_s, seconds)
        parcel.begin(began_s, seconds)
        return parcel
