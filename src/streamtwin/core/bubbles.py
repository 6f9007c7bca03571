"""Where does each idle second of each rank and of each link go?

A bubble is time between a rank's first and last work in which its device serves nothing, or
between a link's first and last transfer in which it carries nothing. Each piece has one cause. A
piece in which a rank waits for another has the cause of whom it waits for in the end
(`core.waits`), however many ranks lie between:

- `fill_drain`: the pipeline was filling or running empty (outside the steady window, but for a
  recovery);
- `input`: no chunk was there, at rank 0, or where the chain of waits ends;
- `policy_wait`: a chunk was there, and a policy held it back;
- `rebalancing`: blocks change ranks, here or where the chain ends;
- `recovery`: a rank of the ring has died and is being replaced, or its ranks have just gone on;
- `imbalance`: the chain ends at a rank that has had work for a whole turn of the lanes: it has more
  to do;
- `communication`: an item is under way to this rank, or the rank that it waits for is receiving and
  nobody has more to do;
- `upstream`, `downstream`: the chain comes round, so nobody has more to do and too few items are under
  way. `upstream`: it waits for an item from the rank before; `downstream`: rank 0 waits for a lane
  to return, or a rank for room on a link;
- `host`: it waits for nobody: what the process does between services.

A link waits for whichever of its ends comes last; its causes are those of waiting for that rank.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from streamtwin.core.intervals import Interval, gaps, union_s
from streamtwin.core.records import SERVICES, Records, Span
from streamtwin.core.waits import NEGLIGIBLE_S, End, Timeline, Verdict, WaitChains

CAUSES = (
    "input",
    "upstream",
    "downstream",
    "communication",
    "host",
    "imbalance",
    "fill_drain",
    "rebalancing",
    "recovery",
    "policy_wait",
)


@dataclass(frozen=True, slots=True)
class Bubble:
    """An idle piece of a rank, or of the link into it, with its cause; s since the stream's start."""

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
        return _seconds_by_cause(self.bubbles)


@dataclass(frozen=True, slots=True)
class LinkTime:
    """One link from its first to its last transfer: its bubbles sum to `idle_s`."""

    sender: int
    receiver: int
    span_s: float
    busy_s: float
    bubbles: tuple[Bubble, ...]

    @property
    def idle_s(self) -> float:
        """Time between first and last transfer in which nothing is carried."""
        return self.span_s - self.busy_s

    def seconds_by_cause(self) -> dict[str, float]:
        """Idle seconds of every cause, those that did not occur included."""
        return _seconds_by_cause(self.bubbles)


def rank_times(records: Records, steady: Interval) -> list[RankTime]:
    """Busy and idle time of every rank, each idle piece with its cause."""
    chains = WaitChains(records, steady)
    return [_rank_time(info.rank, chains, steady) for info in records.info.ranks]


def link_times(records: Records, steady: Interval) -> list[LinkTime]:
    """Busy and idle time of every link that carried something, each idle piece with its cause."""
    chains = WaitChains(records, steady)
    carried: dict[tuple[int, int], list[Span]] = {}
    for span in records.transfers:
        carried.setdefault((span.peer, span.rank), []).append(span)
    ahead = any(span.kind == "transfer" for span in records.transfers)
    return [_link_time(ends, carried[ends], chains, steady, ahead) for ends in sorted(carried)]


def _rank_time(rank: int, chains: WaitChains, steady: Interval) -> RankTime:
    serving = Timeline(chains.spans[rank], lambda span: span.kind in SERVICES)
    busy = [(span.began_s, span.ended_s) for span in serving.spans]
    if not busy:
        return RankTime(rank, 0.0, 0.0, ())
    work = (busy[0][0], max(ended for _, ended in busy))

    def cause_at(at_s: float) -> tuple[str, float]:
        return _rank_cause(rank, at_s, chains)

    stood = chains.stood[rank]
    bubbles = [b for gap in gaps(busy, work) for b in _pieces(rank, gap, cause_at, steady, stood)]
    return RankTime(rank, work[1] - work[0], union_s(busy), tuple(bubbles))


def _rank_cause(rank: int, at_s: float, chains: WaitChains) -> tuple[str, float]:
    """Why *rank* is idle at *at_s*, and until when that stays so at the latest."""
    wait = chains.now[rank].at(at_s)
    if wait is None:
        return "host", chains.now[rank].next_begin_s(at_s)
    if wait.kind == "hop":
        return "communication", wait.ended_s
    if wait.kind == "wait_input":
        return chains.input_cause(wait), wait.ended_s
    if wait.kind == "move":
        return "rebalancing", wait.ended_s
    verdict = chains.end(wait.peer, at_s, (rank,))
    comes_round = "upstream" if wait.kind == "wait_hop" and wait.peer < rank else "downstream"
    return _cause(verdict.end, comes_round), min(verdict.until_s, wait.ended_s)


def _link_time(
    ends: tuple[int, int],
    transfers: Sequence[Span],
    chains: WaitChains,
    steady: Interval,
    ahead: bool,
) -> LinkTime:
    sender, receiver = ends
    busy = sorted((span.began_s, span.ended_s) for span in transfers)
    whole = (busy[0][0], max(ended for _, ended in busy))
    bubbles: list[Bubble] = []
    every = Timeline(chains.spans[sender], lambda span: span.kind != "transfer")
    for gap in gaps(busy, whole):
        if ahead:
            sender_late = every.ends_near(gap[1], NEGLIGIBLE_S) is not None
        else:
            before = chains.now[receiver].ends_near(gap[1], NEGLIGIBLE_S)
            sender_late = before is not None and before.kind == "wait_hop"
        late, comes_round = (sender, "upstream") if sender_late else (receiver, "downstream")

        def cause_at(at_s: float, late: int = late, named: str = comes_round) -> tuple[str, float]:
            verdict: Verdict = chains.end(late, at_s)
            return _cause(verdict.end, named), verdict.until_s

        bubbles += _pieces(receiver, gap, cause_at, steady, chains.stood[receiver])
    return LinkTime(sender, receiver, whole[1] - whole[0], union_s(busy), tuple(bubbles))


def _cause(end: End, comes_round: str) -> str:
    """Word where a chain of waits ends as a cause."""
    words = {"busy": "imbalance", "round": comes_round, "transfer": "communication"}
    return words.get(end, end)


def _pieces(
    rank: int,
    gap: Interval,
    cause_at: Callable[[float], tuple[str, float]],
    steady: Interval,
    stood: Timeline,
) -> list[Bubble]:
    """Cut *gap* where its cause changes. What a ring *stood* is neither filling nor running empty."""
    pieces: list[Bubble] = []
    at_s, ended_s = gap
    while at_s < ended_s:
        standing = stood.at(at_s)
        if standing is not None:
            cause, until_s = "recovery", standing.ended_s
        elif steady[0] <= at_s < steady[1]:
            cause, until_s = cause_at(at_s)
            until_s = min(until_s, steady[1])
        else:
            cause, until_s = "fill_drain", ended_s if at_s >= steady[1] else steady[0]
        until_s = min(until_s, ended_s, inf if standing else stood.next_begin_s(at_s))
        began_s = pieces.pop().began_s if pieces and pieces[-1].cause == cause else at_s
        pieces.append(Bubble(rank, began_s, until_s, cause))
        at_s = until_s
    return pieces


def _seconds_by_cause(bubbles: Sequence[Bubble]) -> dict[str, float]:
    totals = dict.fromkeys(CAUSES, 0.0)
    for bubble in bubbles:
        totals[bubble.cause] += bubble.ended_s - bubble.began_s
    return totals
