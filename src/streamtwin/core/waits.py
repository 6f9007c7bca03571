"""Who is waited for in the end, when one rank waits for another that may itself be waiting?

A rank that waits names its peer. If the peer waits too, the chain goes on with the peer's own wait.
A peer that works may only work so late because it has waited before: then its latest wait leads on,
from the instant at which that wait ended. The chain ends

- `input`: at a rank that had no chunk;
- `policy_wait`: at a rank that had a chunk, which a policy held back;
- `rebalancing`: at a rank that exchanges blocks;
- `recovery`: at a rank that stands since one of the ring has died;
- `busy`: at a rank that has not waited for a whole turn of the lanes: it has more to do than others;
- `round`: at a rank that the chain has already been at. Nobody has too much to do; the way round is
  longer than the items under way can fill. `transfer` if the rank waited for now is receiving.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from streamtwin.core.intervals import Interval
from streamtwin.core.records import WAITS, Records, Span

End = Literal["input", "policy_wait", "rebalancing", "recovery", "busy", "round", "transfer"]

NEGLIGIBLE_S = 1e-4
"""A wait shorter than this does not make a rank one that waits: posting takes some time."""


OWN_REASON = frozenset({"wait_input", "move", "recovery"})
"""Waits that are for no other rank."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a chain of waits ends, and until when (s) that stays so at the latest."""

    end: End
    until_s: float


class Timeline:
    """Spans of one rank of some kinds, searchable by time. They never overlap."""

    def __init__(self, spans: Sequence[Span], keep: Callable[[Span], bool]) -> None:
        self.spans = sorted(filter(keep, spans), key=lambda span: span.began_s)
        self._begins = [span.began_s for span in self.spans]
        self._ends = [span.ended_s for span in self.spans]

    def at(self, instant_s: float) -> Span | None:
        """The span that contains *instant_s*."""
        index = bisect_right(self._begins, instant_s) - 1
        if index >= 0 and instant_s < self._ends[index]:
            return self.spans[index]
        return None

    def next_begin_s(self, instant_s: float) -> float:
        """When the next span after *instant_s* begins; infinity if none does."""
        index = bisect_right(self._begins, instant_s)
        return self._begins[index] if index < len(self._begins) else float("inf")

    def ended_by(self, instant_s: float) -> Span | None:
        """The latest span that has ended at *instant_s*."""
        index = bisect_right(self._ends, instant_s) - 1
        return self.spans[index] if index >= 0 else None

    def ends_near(self, instant_s: float, tolerance_s: float) -> Span | None:
        """A span that ends within *tolerance_s* of *instant_s*."""
        index = bisect_left(self._ends, instant_s - tolerance_s)
        if index < len(self._ends) and self._ends[index] <= instant_s + tolerance_s:
            return self.spans[index]
        return None


class WaitChains:
    """The waits of all ranks of one run."""

    def __init__(self, records: Records, steady: Interval) -> None:
        ranks = [info.rank for info in records.info.ranks]
        spans: dict[int, list[Span]] = {rank: [] for rank in ranks}
        for span in records.spans:
            spans[span.rank].append(span)
        self.spans = spans
        self.now = {rank: Timeline(own, _occupies) for rank, own in spans.items()}
        self.stood = {rank: Timeline(own, _stands) for rank, own in spans.items()}
        self._past = {rank: Timeline(own, _is_wait) for rank, own in spans.items()}
        self._horizon_s = _turn_of_the_lanes_s(records, steady)
        self._held = _HeldBack(records)

    def end(self, rank: int, at_s: float, seen: tuple[int, ...] = ()) -> Verdict:
        """Who is waited for in the end by whoever waits for *rank* at *at_s*.

        *seen* are the ranks that the chain has been at.
        """
        if rank in seen or rank not in self.now:
            return Verdict("round", float("inf"))
        span = self.now[rank].at(at_s)
        until_s = span.ended_s if span else self.now[rank].next_begin_s(at_s)
        if span is None or not _is_wait(span):
            end = self._before(rank, at_s, seen)
            receives = span is not None and span.kind == "hop"
            return Verdict("transfer" if receives and end == "round" else end, until_s)
        if span.kind in OWN_REASON:
            return Verdict(self._named(span), until_s)
        further = self.end(span.peer, at_s, (*seen, rank))
        return Verdict(further.end, min(until_s, further.until_s))

    def input_cause(self, wait: Span) -> End:
        """Why rank 0 is in *wait* for input: there was none, or a policy held it back."""
        return self._named(wait)

    def _before(self, rank: int, at_s: float, seen: tuple[int, ...]) -> End:
        """Why *rank* is not further at *at_s*, while it works: by its latest wait, if any."""
        if rank in seen or rank not in self.now:
            return "round"
        wait = self._past[rank].ended_by(at_s + NEGLIGIBLE_S)
        if wait is None or wait.ended_s < at_s - self._horizon_s:
            return "busy"
        if wait.kind in OWN_REASON:
            return self._named(wait)
        return self._before(wait.peer, wait.ended_s, (*seen, rank))

    def _named(self, wait: Span) -> End:
        if wait.kind == "move":
            return "rebalancing"
        if wait.kind == "recovery":
            return "recovery"
        return "policy_wait" if self._held.during(wait) else "input"


class _HeldBack:
    """Chunks that waited at the door: released, and taken later."""

    def __init__(self, records: Records) -> None:
        waited = sorted(
            (chunk.released_s, chunk.taken_s)
            for chunk in records.chunks
            if chunk.taken_s is not None and chunk.taken_s > chunk.released_s
        )
        self._released = [released_s for released_s, _ in waited]
        self._taken = list(accumulate((taken_s for _, taken_s in waited), max))

    def during(self, wait: Span) -> bool:
        """Whether a chunk was there all through *wait*, which is shorter by a rounding error."""
        index = bisect_right(self._released, wait.began_s) - 1
        return index >= 0 and self._taken[index] >= wait.ended_s - NEGLIGIBLE_S


def _occupies(span: Span) -> bool:
    """Whether the rank itself does or waits for nothing else meanwhile."""
    return span.kind == "hop" or span.kind in WAITS


def _stands(span: Span) -> bool:
    return span.kind == "recovery"


def _is_wait(span: Span) -> bool:
    return span.kind in WAITS and span.seconds >= NEGLIGIBLE_S


def _turn_of_the_lanes_s(records: Records, steady: Interval) -> float:
    """Mean time in which every lane has had one turn; infinity where no pass tells."""
    passes = [s for s in records.spans if s.kind == "dit" and steady[0] <= s.began_s < steady[1]]
    items = len({span.item for span in passes})
    lanes = records.info.lanes or len(records.info.ranks)
    return lanes * (steady[1] - steady[0]) / items if items else float("inf")
