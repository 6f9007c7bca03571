"""When does everything happen, without events? Each rank's clock by itself, with max and plus.

Whatever a rank does, its clock goes on by the time that it takes; where it waits for another, the
clock becomes the later of its own and the instant at which that is there. A rank is computed as far
as instants are known, in any order: rank 0 decides on its own clock, on input up to it, and on results that
it has waited for, so no decision depends on what another rank does at the same time. The ranks run
the same loops as under events, and every instant is the same sum of the same numbers.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import simpy

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.core.recovery import begins_s
from streamtwin.core.ring import Item
from streamtwin.core.slip import NOTHING, Slip
from streamtwin.sim.build import stations_of
from streamtwin.sim.exchange import Meeting
from streamtwin.sim.log import RunLog
from streamtwin.sim.loops import follow, lead
from streamtwin.sim.progress import Progress
from streamtwin.sim.station import Station
from streamtwin.sim.timing import Timing


def applies(plan: Plan) -> str | None:
    """None if the recurrence gives the records of *plan*, else why it does not."""
    if plan.scenario.trouble.lost_ranks:
        return (
            "trouble.lost_ranks ends what every rank does at one instant, and here ranks are computed "
            "one by one, each as far as it knows"
        )
    partition = plan.scenario.deployment.partition
    if partition.trigger != "never":
        return (
            f"deployment.partition.rebalance = {partition.trigger!r} decides on measured times, and "
            "ranks that exchange blocks wait for more than items"
        )
    if partition.schedule:
        return (
            "deployment.partition.schedule moves blocks, and ranks that exchange them wait for more "
            "than items"
        )
    return None


class OwnClock:
    """What one rank's clock shows. It is also what makes it pass."""

    __slots__ = ("now",)

    def __init__(self, now_s: float) -> None:
        self.now = now_s

    def lasts(self, seconds: float) -> None:
        """Go on by *seconds*; nobody is waited for."""
        self.now += seconds


class Rank:
    """A rank's loop, computed as far as what it waits for is known."""

    __slots__ = ("clock", "loop")

    def __init__(self, clock: OwnClock, loop: Iterable[Any]) -> None:
        self.clock, self.loop = clock, loop


class KnownParcel:
    """A parcel whose instants are known once both ends have come: see `sim.link.Parcel`."""

    __slots__ = (
        "arrived_s", "began_s", "item", "known", "met_s", "ready", "size_bytes", "slip", "waiting"
    )  # fmt: skip
    item: Item
    processed = False

    def __init__(self, ready: deque[Rank]) -> None:
        self.slip: Slip = NOTHING
        self.met_s = self.began_s = self.arrived_s = 0.0
        self.size_bytes, self.known = 0, False
        self.ready, self.waiting = ready, list[Rank]()

    @property
    def taken(self) -> "KnownParcel":
        """What is known once the receiver has it."""
        return self

    def begin(self, began_s: float, seconds: float) -> None:
        """Let everybody know who has been waiting for this."""
        self.began_s, self.arrived_s, self.known = began_s, began_s + seconds, True
        for rank in self.waiting:
            rank.clock.now = max(rank.clock.now, self.arrived_s)
        self.ready.extend(self.waiting)


def play_recurrence(
    plan: Plan, timing: Timing, log: RunLog, motion: Sequence[Motion]
) -> list[Station]:
    """Play *plan*, to which the recurrence applies, into *log*, rank by rank.

    Raises:
        RunError: nothing can move any more, or time passes and nothing is served.
    """
    ready: deque[Rank] = deque()
    clocks = [OwnClock(begins_s(plan)) for _ in plan.stages]
    each = iter(clocks)
    # blocks never move here, so nobody meets
    meeting = Meeting(simpy.Environment(), plan)
    stations = stations_of(
        plan, timing, log, meeting, lambda: KnownParcel(ready), lambda: (clock := next(each), clock)
    )
    controller, progress = Controller(plan, log), Progress(log, stations)
    loops = [lead(stations[0], controller, motion), *map(follow, stations[1:])]
    ready.extend(map(Rank, clocks, loops))
    leading, ended = ready[0], False
    while ready:
        rank = ready.popleft()
        over = _compute(rank, progress)
        ended |= over and rank is leading
    if not ended:
        raise progress.stuck(max(clock.now for clock in clocks), controller)
    return stations


def _compute(rank: Rank, progress: Progress) -> bool:
    """Compute *rank* as far as instants are known; whether it has come to its end."""
    clock, loop = rank.clock, iter(rank.loop)
    while True:
        for _ in range(progress.patience):
            awaited = next(loop, END)
            if awaited is None:
                continue
            if awaited is END:
                return True
            assert isinstance(awaited, KnownParcel)
            if not awaited.known:
                awaited.waiting.append(rank)
                return False
            clock.now = max(clock.now, awaited.arrived_s)
        progress.check(clock.now)


END = object()
"""What a loop that is over gives."""
