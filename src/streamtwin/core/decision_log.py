"""Where do two decision logs part, and does a log follow from its own policies?

Two executors take different times, so decisions about different things come in another order. Logs
are therefore compared stream by stream (`stream_of`), the first with the first, and the instants at
which decisions were made count for nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from streamtwin.core.asked_again import Asker
from streamtwin.core.policies.dispatch import WaitingChunk
from streamtwin.core.records import Decision
from streamtwin.core.scenario import Scenario
from streamtwin.core.told_line import hear, in_full

Log = Sequence[Decision]
Placed = tuple[int, Decision]
"""A decision and its index in its log."""
Pair = tuple[Placed | None, Placed | None]


@dataclass(frozen=True, slots=True)
class Logged:
    """A decision, its `number` in its log counted from 1, and all that it saw, lines in full."""

    number: int
    decision: Decision
    saw: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision in which two logs differ; None: that log has no such decision any more."""

    here: Logged | None
    there: Logged | None

    @property
    def first(self) -> Logged:
        """The decision by which the difference is named."""
        one = self.here or self.there
        assert one is not None
        return one

    @property
    def unlike(self) -> list[str]:
        """Names of what was seen that is not the same on both sides."""
        here, there = ({} if one is None else one.saw for one in (self.here, self.there))
        names = [*here, *(name for name in there if name not in here)]
        return [name for name in names if here.get(name) != there.get(name)]


@dataclass(slots=True)
class Tally:
    """Decisions of one family in two logs, and how many of them are alike."""

    here: int = 0
    there: int = 0
    alike: int = 0
    but_for_seconds: int = 0
    """Alike but for instants and durations that were seen."""


def replayed(scenario: Scenario, log: Log) -> Difference | None:
    """The first decision of *log* that its policy does not make again on what it saw.

    Raises:
        UserError: a policy is none of ours, or what it saw is not all there.
    """
    asker = Asker(scenario)
    for index, decision in enumerate(log):
        again = asker.again(decision)
        if _answer(again) != _answer(decision):
            saw = seen_in_full(log, index)
            return Difference(Logged(index + 1, decision, saw), Logged(index + 1, again, saw))
    return None


def first_difference(here: Log, there: Log, *, seconds: bool = True) -> Difference | None:
    """The earliest decision in which two logs differ: in what was seen, or in what was chosen.

    Without *seconds*, instants and durations that were seen may differ.
    """
    parted = (pair for pair in _pairs(here, there) if not _alike(pair, seconds))
    # of several streams the one that parts first, by whichever log's clock
    first = min(parted, key=_when, default=None)
    return first and Difference(_logged(here, first[0]), _logged(there, first[1]))


def tallies(here: Log, there: Log) -> dict[str, Tally]:
    """How many decisions of each family two logs share."""
    counted: dict[str, Tally] = {}
    for pair in _pairs(here, there):
        family = next(placed[1].family for placed in pair if placed)
        tally = counted.setdefault(family, Tally())
        tally.here += pair[0] is not None
        tally.there += pair[1] is not None
        alike = _alike(pair, seconds=True)
        tally.alike += alike
        tally.but_for_seconds += not alike and _alike(pair, seconds=False)
    return dict(sorted(counted.items()))


def seen_in_full(log: Log, index: int) -> dict[str, float]:
    """What that decision of *log* saw, a line of waiting chunks in full."""
    asked = log[index]
    if asked.family != "dispatch":
        return dict(asked.saw)
    line, stream = dict[int, WaitingChunk](), stream_of(asked)
    for one in log[:index]:
        if stream_of(one) == stream:
            hear(line, one.saw)
            line.pop(one.session, None)
    plain = {name: value for name, value in asked.saw.items() if "." not in name}
    return plain | in_full(hear(line, asked.saw))


def stream_of(one: Decision) -> tuple[str | float, ...]:
    """What *one* stands in a row with: decisions about the same thing, made one after the other."""
    match one.family:
        case "dispatch":
            return (one.family, one.rank, one.saw.get("line", 0.0))
        case "batching" | "partition" | "rebalance":
            return (one.family, one.rank)
        case "sink":
            # a block may lie on any rank, and rows of a pass come in any order
            return (one.family, one.session, one.saw.get("block", -1.0), one.saw.get("row", -1.0))
    return (one.family, one.session)


def _pairs(here: Log, there: Log) -> Iterator[Pair]:
    """Decisions of two logs side by side, stream by stream."""
    streams: dict[tuple[str | float, ...], tuple[list[Placed], list[Placed]]] = {}
    for side, log in enumerate((here, there)):
        for placed in enumerate(log):
            streams.setdefault(stream_of(placed[1]), ([], []))[side].append(placed)
    for one_side, other_side in streams.values():
        yield from zip_longest(one_side, other_side)


def _when(pair: Pair) -> tuple[float, int]:
    """When the earlier of two decisions was made, and its place in its log among those of then."""
    return min((placed[1].time_s, placed[0]) for placed in pair if placed)


def _logged(log: Log, placed: Placed | None) -> Logged | None:
    if placed is None:
        return None
    index, decision = placed
    return Logged(index + 1, decision, seen_in_full(log, index))


def _alike(pair: Pair, seconds: bool) -> bool:
    if None in pair:
        return False
    one, other = (placed[1] for placed in pair if placed)
    same = one.policy == other.policy and _answer(one) == _answer(other)
    return same and _observed(one, seconds) == _observed(other, seconds)


def _answer(one: Decision) -> tuple[int, int, float | str]:
    """What was chosen, and about whom."""
    return one.session, one.chunk, one.chose


def _observed(one: Decision, seconds: bool) -> Mapping[str, float]:
    if seconds:
        return one.saw
    return {name: v for name, v in one.saw.items() if not name.partition(".")[0].endswith("_s")}
