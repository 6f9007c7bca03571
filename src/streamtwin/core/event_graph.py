"""What had to end before a service or a transfer of a simulated run could begin?

In virtual time each begins at the very instant at which the last thing it needs has ended: what its
rank did before, an item's arrival, room on a link, a result that was due, a chunk of the camera. Of
all that it needs, this finds the one that came last.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamtwin.core.records import SERVICES, Records, Span
from streamtwin.core.waits import Timeline

TIGHT_S = 1e-9
"""Instants closer than this are one: what adding up seconds in different orders makes of it."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A service, a transfer (`hop`, on its receiver's side), a `move`, or a camera's gap (`input`).

    `input` lasts from the release of the chunk before to that of the chunk; `rank` is 0 and
    `peer` the session. `item` is the turn of the ring that it belongs to.
    """

    kind: str
    rank: int
    peer: int
    item: int
    began_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.ended_s - self.began_s


class EventGraph:
    """The activities of one run, each with what it waited for last."""

    def __init__(self, records: Records) -> None:
        ranks = [info.rank for info in records.info.ranks]
        own: dict[int, list[Span]] = {rank: [] for rank in ranks}
        for span in records.spans:
            if span.kind != "transfer":
                own[span.rank].append(span)
        self._own = {rank: Timeline(spans, _any) for rank, spans in own.items()}
        carried: dict[tuple[int, int], list[Span]] = {}
        for span in records.transfers:
            carried.setdefault((span.peer, span.rank), []).append(span)
        self._carried = {ends: Timeline(spans, _any) for ends, spans in carried.items()}
        deployment: Mapping[str, Any] = records.info.scenario.get("deployment") or {}
        self._ahead = deployment.get("protocol") == "overlap"
        self._inputs = _inputs(records)
        self._released = [one.ended_s for one in self._inputs]

    def emission(self, at_s: float) -> Activity | None:
        """What ended with the emission of a chunk at *at_s*."""
        for rank in reversed(self._own):
            span = self._own[rank].ends_near(at_s, TIGHT_S)
            if span is not None and span.kind in SERVICES:
                return _activity(span)
        return None

    def before(self, activity: Activity) -> Activity | None:
        """What *activity* waited for last; None at the start of the run."""
        at_s = activity.began_s
        if activity.kind == "input":
            return self._input_before(activity)
        if activity.kind != "hop":
            return self._reached(activity.rank, at_s)
        # a receiver that waits leads on to the sender; one that has asked ahead does not wait
        sender = self._own[activity.peer].ends_near(at_s, TIGHT_S) if self._ahead else None
        return self._reached(activity.peer if sender else activity.rank, at_s)

    def _reached(self, rank: int, at_s: float, seen: tuple[int, ...] = ()) -> Activity | None:
        """What let *rank* get to the instant *at_s*."""
        span = self._own[rank].ends_near(at_s, TIGHT_S) if rank in self._own else None
        if span is None or rank in seen:
            return None
        if span.kind == "wait_input":
            return self._input_at(at_s)
        if span.kind in {"hop", "wait_hop"}:
            ends = (span.peer, rank)
        elif span.kind == "wait_sent":
            ends = (rank, span.peer)
        else:
            return _activity(span)
        # a transfer that takes no time leaves no span: then its other end is what came last
        transfers = self._carried.get(ends)
        carried = transfers.ends_near(at_s, TIGHT_S) if transfers else None
        return _activity(carried) if carried else self._reached(span.peer, at_s, (*seen, rank))

    def _input_at(self, at_s: float) -> Activity | None:
        """The gap of a camera that ended at *at_s*."""
        index = bisect_left(self._released, at_s - TIGHT_S)
        near = index < len(self._released) and self._released[index] <= at_s + TIGHT_S
        return self._inputs[index] if near else None

    def _input_before(self, gap: Activity) -> Activity | None:
        """The gap of the same camera before *gap*."""
        index = bisect_left(self._released, gap.began_s - TIGHT_S)
        while index < len(self._released) and self._released[index] <= gap.began_s + TIGHT_S:
            if self._inputs[index].peer == gap.peer:
                return self._inputs[index]
            index += 1
        return None


def _inputs(records: Records) -> list[Activity]:
    """The gaps between the releases of chunks that were taken, of each session, in order of time."""
    items = {(s.session, s.chunk): s.item for s in records.spans if s.kind == "encode"}
    last: dict[int, float] = {}
    gaps: list[Activity] = []
    for chunk in sorted(records.chunks, key=lambda one: (one.released_s, one.session)):
        item = items.get((chunk.session, chunk.chunk))
        if item is None:
            continue
        began_s = last.get(chunk.session, 0.0)
        last[chunk.session] = chunk.released_s
        gaps.append(Activity("input", 0, chunk.session, item, began_s, chunk.released_s))
    return gaps


def _activity(span: Span) -> Activity:
    kind = "hop" if span.kind == "transfer" else span.kind
    return Activity(kind, span.rank, span.peer, span.item, span.began_s, span.ended_s)


def _any(_: Span) -> bool:
    return True
