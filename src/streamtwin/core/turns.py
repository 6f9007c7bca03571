"""What does rank 0 do next: give a lane its turn, take a result back, or wait for input?

A pure reading of the book and the queues, but for the two choices that policies make. It is the
same in both executors, which carry out what it says.
"""

from collections.abc import Callable
from dataclasses import dataclass

from streamtwin.core.door import Door
from streamtwin.core.line import Line
from streamtwin.core.ring import START, Ring


@dataclass(slots=True)
class Turn:
    """Give *lane* its turn; a chunk of each of the sessions in *takes* enters."""

    lane: int
    takes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Wait for the oldest result: nothing can move before."""


@dataclass(slots=True)
class Wait:
    """Wait for input until the instant *until_s*."""

    until_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Input has ended and the ring is empty."""


Action = Turn | TakeBack | Wait | Finished

Choose = Callable[[int, Line], tuple[int, ...]]
"""Which of the sessions that have a chunk enter a lane at its turn, by policy."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How lanes are filled. `by_session`: session s has lane s mod W to itself."""

    batch: int
    stream_batch: bool
    by_session: bool

    def room(self, ring: Ring, lane: int) -> int:
        """Chunks that *lane* can take in; without stream batch only an empty lane takes any."""
        if self.stream_batch:
            return min(self.batch, ring.max_rows - len(ring.rows(lane)))
        return 0 if ring.rows(lane) else self.batch


def start_turn(ring: Ring, door: Door, choose: Choose) -> Turn | None:
    """The turn of the start lane, if it has one: a session begins or goes on beginning."""
    if ring.out(START):
        return None
    if ring.rows(START):
        return Turn(START, ())
    return Turn(START, choose(START, door.fresh)[:1]) if door.fresh else None


def lane_turn(ring: Ring, door: Door, rules: Rules, choose: Choose) -> Turn | TakeBack | None:
    """The turn of the first lane in order that can move; None when all wait for input.

    Lanes that are filled in time carry chunks of one session one behind the other: none may
    overtake, so a lane that has to wait stops those after it. A lane of its own stops nobody.
    """
    blocked = False
    for offset in range(ring.lanes):
        lane = (ring.next_lane + offset) % ring.lanes
        ready = door.served(lane)
        to_come = ready.to_come > 0
        room = rules.room(ring, lane)
        if ring.out(lane):
            if not rules.by_session:
                return TakeBack()
            blocked |= bool(ready) or not to_come
            continue
        takes = choose(lane, ready) if ready and room else ()
        waits = rules.stream_batch and room > 0 and to_come and not ready
        if takes or (ring.rows(lane) and not waits):
            return Turn(lane, takes)
        if waits and not rules.by_session:
            return None
    return TakeBack() if blocked else None
