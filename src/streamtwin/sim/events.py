"""How does virtual time pass? As discrete events of SimPy, the reference engine."""

from collections.abc import Sequence
from functools import partial

import simpy
from simpy.events import NORMAL

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


class EventParcel(simpy.Event):
    """A parcel that fires when it is there: see `sim.link.Parcel`."""

    item: Item
    slip: Slip = NOTHING
    met_s = began_s = arrived_s = 0.0
    size_bytes = 0

    @property
    def taken(self) -> simpy.Event:
        """What fires once the receiver has it."""
        return self

    def begin(self, began_s: float, seconds: float) -> None:
        """Let it fire *seconds* after *began_s*, which is now, as a timeout does."""
        self.began_s, self.arrived_s = began_s, began_s + seconds
        self._ok, self._value = True, None
        self.env.schedule(self, NORMAL, seconds)


class Service(simpy.Event):
    """What a rank does for some time. It does one thing at a time, so it needs one such event."""

    def lasts(self, seconds: float) -> "Service":
        """Let it fire in *seconds*, as a timeout does."""
        self.callbacks, self._ok, self._value = [], True, None
        self.env.schedule(self, NORMAL, seconds)
        return self


def play_events(plan: Plan, timing: Timing, log: RunLog, motion: Sequence[Motion]) -> list[Station]:
    """Play *plan* into *log*, event by event, until nothing is left to happen.

    Raises:
        RunError: nothing can move any more, or time passes and nothing is served.
    """
    env = simpy.Environment(initial_time=begins_s(plan))
    stations = stations_of(
        plan,
        timing,
        log,
        Meeting(env, plan),
        partial(EventParcel, env),
        lambda: (env, Service(env)),
    )
    controller, progress = Controller(plan, log), Progress(log, stations)
    leading = env.process(lead(stations[0], controller, motion))
    for station in stations[1:]:
        env.process(follow(station))
    step = env.step
    try:
        while True:
            for _ in range(progress.patience):
                step()
            progress.check(env.now)
    except simpy.core.EmptySchedule:
        pass
    if not leading.triggered:
        raise progress.stuck(env.now, controller)
    return stations
