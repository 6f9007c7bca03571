"""How does a run go on behind the death of a rank? In epochs, each a world of events of its own.

An epoch is played up to the instant of the death, and nothing that comes then or later is kept. Rank
0's book is copied at that instant and goes on in the next epoch, whose time begins when the ring goes
on. What was being done is known only once it is over, because that is when a rank notes it: so the
old world is played a little further, with the old book, and cut off.
"""

from collections import deque
from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from math import inf

import simpy

from streamtwin.core.controller import Controller
from streamtwin.core.errors import ScenarioError
from streamtwin.core.loss import LostRank
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.core.records import ChunkRecord, Span
from streamtwin.core.recovery import begins_s, recovery_of, without_effect
from streamtwin.core.restart import Key, begin_again
from streamtwin.sim.build import stations_of
from streamtwin.sim.downtime import note_downtime
from streamtwin.sim.events import EventParcel, Service
from streamtwin.sim.exchange import Meeting
from streamtwin.sim.log import RunLog
from streamtwin.sim.loops import follow, lead
from streamtwin.sim.progress import Progress
from streamtwin.sim.station import Station
from streamtwin.sim.timing import Timing


def play_epochs(plan: Plan, timing: Timing, log: RunLog, motion: Sequence[Motion]) -> list[Station]:
    """Play *plan* into *log* from one death to the next, until nothing is left to happen.

    A death behind the end of the stream changes nothing, which is noted.

    Raises:
        ScenarioError: a rank dies while the ring stands already.
        RunError: nothing can move any more, or time passes and nothing is served.
    """
    controller, began_s = Controller(plan, log), begins_s(plan)
    stood_s: float | None = None
    first: dict[Key, ChunkRecord] = {}
    epoch = Epoch(plan, timing, controller, motion, began_s)
    deaths = deque(sorted(plan.scenario.trouble.lost_ranks, key=lambda one: one.at_s))
    while deaths and epoch.until(deaths[0].at_s):
        lost = deaths.popleft()
        _check_apart(plan, lost, stood_s, began_s)
        controller = epoch.cut(lost.at_s)
        casualties = begin_again(controller, lost.state)
        first = {**casualties.again, **first}
        recovery = recovery_of(plan, lost, casualties.sessions)
        note_downtime(plan, log, recovery, casualties.saw())
        stood_s, began_s = lost.at_s, recovery.resumed_s
        epoch = Epoch(plan, timing, controller, motion, began_s)
    epoch.until(inf)
    log.decisions += [without_effect(lost, epoch.env.now) for lost in deaths]
    for key, chunk in first.items():
        done = log.chunks[key]
        log.chunks[key] = replace(done, released_s=chunk.released_s, taken_s=chunk.taken_s)
    return epoch.stations


class Epoch:
    """A world of events from *began_s* on, with rank 0's book as it is then."""

    def __init__(
        self,
        plan: Plan,
        timing: Timing,
        controller: Controller,
        motion: Sequence[Motion],
        began_s: float,
    ) -> None:
        assert isinstance(controller.recorder, RunLog)
        self.env = env = simpy.Environment(initial_time=began_s)
        self.plan, self.controller, self.log = plan, controller, controller.recorder
        self.stations = stations_of(
            plan, timing, self.log, Meeting(env, plan), lambda: EventParcel(env),
            lambda: (env, Service(env)),
        )  # fmt: skip
        self.leading = env.process(lead(self.stations[0], controller, motion))
        for station in self.stations[1:]:
            env.process(follow(station))

    def until(self, at_s: float) -> bool:
        """Let happen what happens before *at_s*; whether anything is left then.

        Raises:
            RunError: nothing can move any more, or time passes and nothing is served.
        """
        progress = Progress(self.log, self.stations)
        while True:
            for _ in range(progress.patience):
                next_s = self.env.peek()
                if next_s == inf and not self.leading.triggered:
                    raise progress.stuck(self.env.now, self.controller)
                if next_s >= at_s:
                    return next_s < inf
                self.env.step()
            progress.check(self.env.now)

    def cut(self, at_s: float) -> Controller:
        """End all that is being done at *at_s*, and this world; the book as it is at that instant."""
        log, controller = self.log, self.controller
        shared = (self.plan, log, controller.trace)
        book = deepcopy(controller, {id(one): one for one in shared})
        chunks, decided = {key: copy(one) for key, one in log.chunks.items()}, len(log.decisions)
        self._note_begun(at_s)
        log.chunks = chunks
        del log.decisions[decided:]
        # stations note in this very list
        log.spans[:] = [_until(one, at_s) for one in log.spans if one.began_s < at_s]
        return book

    def _note_begun(self, at_s: float) -> None:
        """Go on until each rank has noted all that it had begun, and that had begun for it."""
        spans, seen = self.log.spans, len(self.log.spans)
        # a transfer to a rank that computes meanwhile is noted behind other things
        ahead = self.plan.scenario.deployment.overlaps
        open_ = {one.stage.rank: ahead and one.inward is not None for one in self.stations}
        while open_ and self.env.peek() < inf:
            self.env.step()
            for one in spans[seen:]:
                if one.began_s >= at_s and (one.kind == "transfer" or not open_.get(one.rank)):
                    open_.pop(one.rank, None)
            seen = len(spans)


def _until(span: Span, at_s: float) -> Span:
    """*span* as far as it was done at *at_s*; what was waited for never came."""
    if span.ended_s <= at_s:
        return span
    done = replace(span, ended_s=at_s)
    return replace(done, session=0, chunk=-1, item=0) if span.kind == "wait_hop" else done


def _check_apart(plan: Plan, lost: LostRank, stood_s: float | None, began_s: float) -> None:
    """Refuse a death while the ring stands until *began_s*: since *stood_s*; None: it starts cold."""
    if lost.at_s < began_s:
        cold = "since the start, which is cold"
        since = cold if stood_s is None else f"since {stood_s:g} s, when one died"
        raise ScenarioError(
            f"{plan.scenario.name}: trouble.lost_ranks: at_s = {lost.at_s:g}: the ring stands until "
            f"{began_s:.3f} s already, {since}; let the next rank die later"
        )
