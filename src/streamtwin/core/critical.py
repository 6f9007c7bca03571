"""Which round of services and transfers sets the pace of the steady state?

From the last steady emission one walks back, from each activity to the one that it waited for last.
Activities of one kind at one place recur turn after turn, so the walk goes round in circles. Where
nothing scatters it soon goes round a single one, and that circle's seconds over its chunks are the
period exactly: it is the critical cycle of max-plus algebra (Baccelli, Cohen, Olsder and Quadrat,
Synchronization and Linearity, 1992, theorem 3.23). Where services scatter several circles take turns;
the one that takes the most time is named, with its share of the walk.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from streamtwin.core.event_graph import Activity, EventGraph
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario
from streamtwin.core.steady import Steady

Phase = tuple[int, int]
"""Which of a lane's turns an item is, and in which lane, where turns differ."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where activities of one kind recur: a service on a rank, a transfer between two."""

    kind: str
    rank: int
    peer: int
    phase: Phase

    def __str__(self) -> str:
        if self.kind == "hop":
            return f"{'wrap hop' if self.rank == 0 else 'hop'} {self.peer} to {self.rank}"
        if self.kind == "input":
            return f"camera of session {self.peer}"
        return f"{self.kind} on rank {self.rank}"


@dataclass(frozen=True, slots=True)
class Cycle:
    """The circle that sets the pace, in order of time, with the mean seconds of each place.

    Once round it takes `seconds`, `turns` items and `chunks` chunks of all sessions later. `share` is
    its part of the time walked: 1 where it alone sets the pace. `path` has the part of each kind
    at each place (rank, peer) in all circles that were walked: by how much of a small relative
    change of that service the run's time changes.
    """

    places: tuple[Place, ...]
    place_s: tuple[float, ...]
    turns: int
    chunks: float
    share: float
    path: Mapping[tuple[str, int, int], float]

    @property
    def seconds(self) -> float:
        """Seconds of one round."""
        return sum(self.place_s)

    @property
    def period_s(self) -> float:
        """Seconds between two chunks at this pace."""
        return self.seconds / self.chunks

    def figures(self) -> dict[str, Any]:
        """The cycle as `metrics.json` has it."""
        return {
            "text": told(self.places),
            "steps": [
                {"kind": place.kind, "rank": place.rank, "peer": place.peer, "seconds": seconds}
                for place, seconds in zip(self.places, self.place_s, strict=True)
            ],
            "seconds": self.seconds,
            "turns": self.turns,
            "chunks": self.chunks,
            "period_s": self.period_s,
            "share": self.share,
            "path": [
                {"kind": kind, "rank": rank, "peer": peer, "share": share}
                for (kind, rank, peer), share in sorted(self.path.items())
            ],
        }


def told(places: Sequence[Place]) -> str:
    """Name *places* in order; what comes several times in a row is named once, with its number."""
    names = [str(place) for place in places]
    parts: list[str] = []
    while names:
        length, times = max(_repeats(names), key=lambda found: (found[0] * found[1], found[1]))
        block = " -> ".join(names[:length])
        parts.append(block if times == 1 else f"{times} x ({block})")
        names = names[length * times :]
    return " -> ".join(parts)


def _repeats(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """How often the first so many *names* follow each other; once only the first alone."""
    yield 1, 1
    for length in range(1, len(names) // 2 + 1):
        times = 1
        while names[times * length : (times + 1) * length] == names[:length]:
            times += 1
        if times > 1:
            yield length, times


def critical_cycle(records: Records, scenario: Scenario, steady: Steady) -> Cycle | None:
    """What sets the pace between the first and the last emission of *steady*.

    None for a measured run, whose instants meet only roughly, of several replicas, each of which has
    a pace of its own, and where the walk never goes round.
    """
    if records.info.source != "simulated" or scenario.deployment.replicas > 1:
        return None
    walk = list(_walk(EventGraph(records), steady))
    phases = {} if scenario.deployment.stream_batch else _phases(records)
    rounds = _rounds(walk, phases)
    if not rounds:
        return None
    found = max(rounds.values(), key=lambda own: sum(map(_seconds, own)))
    walked_s = walk[0].ended_s - walk[-1].began_s
    path = _path([step for own in rounds.values() for circle in own for step in circle])
    return _cycle(found, phases, _chunks_an_item(records, steady), walked_s, path)


@dataclass(slots=True)
class _Step:
    """An activity of the walk, and by how many items what it waited for comes before it."""

    activity: Activity
    items: int


def _walk(graph: EventGraph, steady: Steady) -> Iterator[Activity]:
    activity = graph.emission(steady.interval[1])
    while activity is not None:
        yield activity
        if activity.began_s <= steady.interval[0]:
            return
        activity = graph.before(activity)


def _rounds(
    walk: Sequence[Activity], phases: dict[int, Phase]
) -> dict[tuple[tuple[Place, int], ...], list[list[_Step]]]:
    """Every circle of the walk, those alike together: whenever a place comes again, one is closed."""
    rounds: dict[tuple[tuple[Place, int], ...], list[list[_Step]]] = defaultdict(list)
    open_: list[_Step] = []
    at: dict[Place, int] = {}
    for activity, before in zip_longest(walk, walk[1:]):
        place = _place(activity, phases)
        if place in at:
            first = at[place]
            closed = list(reversed(open_[first:]))
            del open_[first:]
            for step in closed:
                del at[_place(step.activity, phases)]
            if sum(step.items for step in closed) > 0:
                closed = _from_lowest(closed)
                key = tuple((_place(step.activity, phases), step.items) for step in closed)
                rounds[key].append(closed)
        at[place] = len(open_)
        open_.append(_Step(activity, activity.item - before.item if before else 0))
    return rounds


def _from_lowest(circle: list[_Step]) -> list[_Step]:
    """The same circle, begun with the camera, or with the first service of its lowest rank."""
    services = [i for i, step in enumerate(circle) if step.activity.kind != "hop"]
    order = ("input", "encode", "dit", "decode")

    def early(index: int) -> tuple[int, int]:
        activity = circle[index].activity
        known = activity.kind in order
        return activity.rank, order.index(activity.kind) if known else len(order)

    start = min(services, key=early, default=0)
    return circle[start:] + circle[:start]


def _cycle(
    circles: list[list[_Step]],
    phases: dict[int, Phase],
    chunks_an_item: float,
    walked_s: float,
    path: dict[tuple[str, int, int], float],
) -> Cycle:
    one = circles[0]
    turns = sum(step.items for step in one)
    place_s = tuple(
        sum(circle[i].activity.seconds for circle in circles) / len(circles)
        for i in range(len(one))
    )
    share = sum(map(_seconds, circles)) / walked_s
    places = tuple(_place(step.activity, phases) for step in one)
    return Cycle(places, place_s, turns, turns * chunks_an_item, min(1.0, share), path)


def _path(steps: Sequence[_Step]) -> dict[tuple[str, int, int], float]:
    """What part of the time of *steps* each kind of activity has at each place."""
    whole_s = _seconds(steps)
    parts: dict[tuple[str, int, int], float] = defaultdict(float)
    for step in steps:
        own = step.activity
        parts[own.kind, own.rank, own.peer] += own.seconds / whole_s
    return dict(parts)


def _seconds(circle: Sequence[_Step]) -> float:
    return sum(step.activity.seconds for step in circle)


def _place(activity: Activity, phases: dict[int, Phase]) -> Place:
    phase = phases.get(activity.item, (0, 0))
    return Place(activity.kind, activity.rank, activity.peer, phase)


def _phases(records: Records) -> dict[int, Phase]:
    """Without stream batch a lane's turns differ: which pass of its chunk each item is."""
    passes = [span for span in records.spans if span.kind == "dit"]
    first = min((span.rank for span in passes), default=0)
    lanes = records.info.lanes or len(records.info.ranks)
    count: dict[tuple[int, int], int] = defaultdict(int)
    phases: dict[int, Phase] = {}
    for span in sorted((s for s in passes if s.rank == first), key=lambda s: s.item):
        chunk = (span.session, span.chunk)
        phases[span.item] = (count[chunk], span.item % lanes)
        count[chunk] += 1
    return phases


def _chunks_an_item(records: Records, steady: Steady) -> float:
    """Chunks of all sessions that leave for each item, in the steady window."""
    decoded = {s.ended_s: s.item for s in records.spans if s.kind == "decode"}
    first, last = (decoded.get(instant, 0) for instant in steady.interval)
    return (steady.last - steady.first) / (last - first) if last > first else 1.0
