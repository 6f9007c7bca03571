"""Where does each idle second of each rank go?

A bubble is time between a rank's first and last work in which its device serves nothing. Each
piece has one cause:

- `fill_drain`: the pipeline was filling or running empty (outside the steady window);
- `input`: rank 0 had no chunk;
- `communication`: the item the rank waits for was under way;
- `imbalance`: it waits for the rank before it, which is serving: that stage is longer;
- `upstream`: it waits for the rank before it, which itself serves nothing;
- `downstream`: its lane has not returned (rank 0), or its last item has not been taken;
- `host`: it waits for nobody: what the process does between services.

`rebalancing` and `policy_wait` complete the vocabulary; no executor causes them yet.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.intervals import Interval, cut, gaps
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
    """One rank from its first to its last work: `busy_s` plus all bubbles is `span_s`."""

    rank: int
    span_s: float
    busy_s: float
    bubbles: tuple[Bubble, ...]

    def seconds_by_cause(self) -> dict[str, float]:
        """Idle seconds of every cause, those that did not occur included."""
        totals = dict.fromkeys(CAUSES, 0.0)
        for bubble in self.bubbles:
            totals[bubble.cause] += bubble.ended_s - bubble.began_s
        return totals


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

    def edges(self, interval: Interval) -> list[float]:
        """Begins and ends of the spans that touch *interval*."""
        start = max(0, bisect_right(self._begins, interval[0]) - 1)
        edges: list[float] = []
        for span in self.spans[start:]:
            if span.began_s >= interval[1]:
                break
            edges += [span.began_s, span.ended_s]
        return edges


def rank_times(records: Records, steady: Interval) -> list[RankTime]:
    """Busy and idle time of every rank, each idle piece with its cause."""
    ranks = [info.rank for info in records.info.ranks]
    spans = {rank: [span for span in records.spans if span.rank == rank] for rank in ranks}
    serving = {rank: _Timeline(spans[rank], SERVICES) for rank in ranks}
    waiting = {rank: _Timeline(spans[rank], (*WAITS, "hop")) for rank in ranks}
    return [_rank_time(rank, serving, waiting[rank], steady) for rank in ranks]


def _rank_time(
    rank: int, serving: dict[int, _Timeline], waits: _Timeline, steady: Interval
) -> RankTime:
    services = serving[rank].spans
    if not services:
        return RankTime(rank, 0.0, 0.0, ())
    work = (services[0].began_s, max(span.ended_s for span in services))
    busy = [(span.began_s, span.ended_s) for span in services]
    bubbles = [
        Bubble(rank, piece[0], piece[1], _cause(piece, rank, serving, waits, steady))
        for gap in gaps(busy, work)
        for piece in cut(gap, _instants(gap, rank, serving, waits, steady))
    ]
    busy_s = work[1] - work[0] - sum(bubble.ended_s - bubble.began_s for bubble in bubbles)
    return RankTime(rank, work[1] - work[0], busy_s, tuple(_merged(bubbles)))


def _instants(
    gap: Interval, rank: int, serving: dict[int, _Timeline], waits: _Timeline, steady: Interval
) -> list[float]:
    before = serving.get(rank - 1)
    edges = [*steady, *waits.edges(gap)]
    return edges + before.edges(gap) if before is not None else edges


def _cause(
    piece: Interval,
    rank: int,
    serving: dict[int, _Timeline],
    waits: _Timeline,
    steady: Interval,
) -> str:
    middle = (piece[0] + piece[1]) / 2
    if not steady[0] <= middle < steady[1]:
        return "fill_drain"
    wait = waits.at(middle)
    if wait is None:
        return "host"
    if wait.kind == "wait_hop" and rank > 0:
        return "upstream" if serving[rank - 1].at(middle) is None else "imbalance"
    named = {"wait_input": "input", "hop": "communication"}
    return named.get(wait.kind, "downstream")


def _merged(bubbles: list[Bubble]) -> list[Bubble]:
    merged: list[Bubble] = []
    for bubble in bubbles:
        joined = bubble
        if merged and merged[-1].cause == bubble.cause and merged[-1].ended_s == bubble.began_s:
            joined = Bubble(bubble.rank, merged.pop().began_s, bubble.ended_s, bubble.cause)
        merged.append(joined)
    return merged
