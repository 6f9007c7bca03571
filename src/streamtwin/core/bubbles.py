"""Where does each idle second of each rank go?

A bubble is time between a rank's first and last work in which its device serves nothing. Each
piece has one cause:

- `fill_drain`: the pipeline was filling or running empty (outside the steady window);
- `input`: rank 0 had no chunk;
- `communication`: the item the rank waits for was under way;
- `imbalance`: it waits for its neighbour, which has not waited for anybody since: that rank has
  more to do;
- `upstream`: it waits for the rank before it, which has itself been waiting;
- `downstream`: its lane has not returned while the last rank has been waiting too (rank 0), or
  its last item has not been taken;
- `rebalancing`: it exchanges blocks with other ranks, or waits for a neighbour that does;
- `host`: it waits for nobody: what the process does between services.

`policy_wait` completes the vocabulary; no executor causes it yet.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.intervals import Interval, cut, gaps, union_s
from streamtwin.core.records import SERVICES, WAITS, Records, Span

CAUSES = (
    "input",
    "upstream",
    "downstream",
    "communication",
    "host",
    "imbalance",
    "fill_drain",
    "rebalancing",
    "policy_wait",
)


@dataclass(frozen=True, slots=True)
class Bubble:
    """An idle piece of a rank with its cause, in seconds since the start of the stream."""

    rank: int
    began_s: float
    ended_s: float
    cause: str


@dataclass(frozen=True, slots=True)
class RankTime:
    """One rank from its first to its last work: its bubbles sum to `idle_s`."""

    rank: int
    span_s: float
    busy_s: float
    bubbles: tuple[Bubble, ...]

    @property
    def idle_s(self) -> float:
        """Time between first and last work in which nothing is served."""
        return self.span_s - self.busy_s

    def seconds_by_cause(self) -> dict[str, float]:
        """Idle seconds of every cause, those that did not occur included."""
        totals = dict.fromkeys(CAUSES, 0.0)
        for bubble in self.bubbles:
            totals[bubble.cause] += bubble.ended_s - bubble.began_s
        return totals


NEGLIGIBLE_S = 1e-4
"""A wait shorter than this does not make a rank one that waits: posting takes some time."""


class _Timeline:
    """Spans of one rank of some kinds, searchable by time. Spans of one rank never overlap."""

    def __init__(self, spans: Sequence[Span], kinds: tuple[str, ...]) -> None:
        self.spans = sorted(
            (span for span in spans if span.kind in kinds), key=lambda span: span.began_s
        )
        self._begins = [span.began_s for span in self.spans]

    def at(self, instant_s: float) -> Span | None:
        """The span that contains *instant_s*."""
        index = bisect_right(self._begins, instant_s) - 1
        if index >= 0 and instant_s < self.spans[index].ended_s:
            return self.spans[index]
        return None

    def touching(self, interval: Interval) -> list[Span]:
        """The spans that overlap *interval*."""
        first = max(0, bisect_right(self._begins, interval[0]) - 1)
        after = bisect_left(self._begins, interval[1])
        return [span for span in self.spans[first:after] if span.ended_s > interval[0]]

    def edges(self, interval: Interval) -> list[float]:
        """Begins and ends of the spans that overlap *interval*."""
        return [edge for span in self.touching(interval) for edge in (span.began_s, span.ended_s)]


def rank_times(records: Records, steady: Interval) -> list[RankTime]:
    """Busy and idle time of every rank, each idle piece with its cause."""
    ranks = [info.rank for info in records.info.ranks]
    spans = {rank: [span for span in records.spans if span.rank == rank] for rank in ranks}
    serving = {rank: _Timeline(spans[rank], SERVICES) for rank in ranks}
    waiting = {rank: _Timeline(spans[rank], (*WAITS, "hop")) for rank in ranks}
    return [_rank_time(rank, serving[rank], waiting, steady) for rank in ranks]


def _rank_time(
    rank: int, serving: _Timeline, waiting: dict[int, _Timeline], steady: Interval
) -> RankTime:
    busy = [(span.began_s, span.ended_s) for span in serving.spans]
    if not busy:
        return RankTime(rank, 0.0, 0.0, ())
    work = (busy[0][0], max(ended for _, ended in busy))
    bubbles = [
        Bubble(rank, piece[0], piece[1], _cause(piece, rank, waiting, steady))
        for gap in gaps(busy, work)
        for piece in cut(gap, _instants(gap, rank, waiting, steady))
    ]
    return RankTime(rank, work[1] - work[0], union_s(busy), tuple(_merged(bubbles)))


def _instants(
    gap: Interval, rank: int, waiting: dict[int, _Timeline], steady: Interval
) -> list[float]:
    """Where the cause may change: steady window, own waits, and waits of the rank waited for."""
    own = waiting[rank]
    peers = {span.peer for span in own.touching(gap)} & waiting.keys()
    edges = [*steady, *own.edges(gap)]
    return edges + [edge for peer in sorted(peers) for edge in waiting[peer].edges(gap)]


def _cause(piece: Interval, rank: int, waiting: dict[int, _Timeline], steady: Interval) -> str:
    middle = (piece[0] + piece[1]) / 2
    if not steady[0] <= middle < steady[1]:
        return "fill_drain"
    wait = waiting[rank].at(middle)
    if wait is None:
        return "host"
    if wait.kind == "wait_hop" and wait.peer in waiting:
        other = waiting[wait.peer].at(middle)
        if other is not None and other.kind == "move":
            return "rebalancing"
        if not _has_waited(waiting[wait.peer], (wait.began_s, middle)):
            return "imbalance"
        # its lane has not returned to a rank that leads a ring: what comes is of a later rank
        return "upstream" if wait.peer < rank else "downstream"
    named = {"wait_input": "input", "hop": "communication", "move": "rebalancing"}
    return named.get(wait.kind, "downstream")


def _has_waited(timeline: _Timeline, interval: Interval) -> bool:
    """Whether the rank of *timeline* has waited for input or for another rank in *interval*."""
    return any(
        span.kind in WAITS and span.seconds >= NEGLIGIBLE_S for span in timeline.touching(interval)
    )


def _merged(bubbles: list[Bubble]) -> list[Bubble]:
    merged: list[Bubble] = []
    for bubble in bubbles:
        joined = bubble
        if merged and merged[-1].cause == bubble.cause and merged[-1].ended_s == bubble.began_s:
            joined = Bubble(bubble.rank, merged.pop().began_s, bubble.ended_s, bubble.cause)
        merged.append(joined)
    return merged
