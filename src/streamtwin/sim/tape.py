"""By which sums and maxima does every instant of one deployment follow from earlier ones?

A walk (`sim.maxplus`) on instants that note how they came to be: its steps, one after the other, are a
tape, and whoever goes through the tape gets the same instants without asking what a rank does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.sim.maxplus import Releases, Walk
from streamtwin.sim.vector_costs import Seconds, VectorCosts
from streamtwin.sim.vector_ranks import Instants, VectorRank


class Step(NamedTuple):
    """How an instant follows from those `back` steps before it.

    `after`: `seconds` later. `later`: the later of this one and the one `other` steps before.
    `until`: this one, or when chunk number `other` is released, if that is later.
    """

    kind: Literal["start", "after", "later", "until"]
    back: int = 0
    other: int = 0
    seconds: float = 0.0

    def further(self, chunks: int) -> "Step":
        """The same step where the stream is *chunks* further."""
        return self._replace(other=self.other + chunks) if self.kind == "until" else self


class Tape:
    """Steps, and the instants in seconds that they gave."""

    def __init__(self) -> None:
        self.steps: list[Step] = [Step("start")]
        self.values_s: list[float] = [0.0]
        self.start = Instant(self, 0, 0.0)

    def note(self, value_s: float, step: Step) -> "Instant":
        """The instant that *step* gives."""
        self.steps.append(step)
        self.values_s.append(value_s)
        return Instant(self, len(self.steps) - 1, value_s)


class Instant:
    """An instant that knows its place on a tape. It stands for a vector with one element."""

    __slots__ = ("place", "tape", "value_s")

    def __init__(self, tape: Tape, place: int, value_s: float) -> None:
        self.tape, self.place, self.value_s = tape, place, value_s

    @property
    def back(self) -> int:
        """How many steps before the next one it was noted."""
        return len(self.tape.steps) - self.place

    def __add__(self, seconds: float) -> "Instant":
        return self.tape.note(self.value_s + seconds, Step("after", self.back, 0, seconds))

    def later(self, other: "Instant") -> "Instant":
        """The later of the two."""
        value_s = max(self.value_s, other.value_s)
        return self.tape.note(value_s, Step("later", self.back, other.back))

    def until(self, chunk: int, released_s: float) -> "Instant":
        """The release of *chunk*, if that is later; clocks get there by what is missing."""
        value_s = self.value_s + max(0.0, released_s - self.value_s)
        return self.tape.note(value_s, Step("until", self.back, chunk))


class NotedCosts(VectorCosts):
    """Service times of one deployment, and where its clocks start."""

    def __init__(self, plan: Plan, latency: LatencyModel, tape: Tape) -> None:
        super().__init__([plan], [latency])
        self._tape = tape

    def start(self) -> Seconds:
        """The first instant of the tape."""
        return cast(Seconds, self._tape.start)

    def later(self, one: Seconds, other: Seconds) -> Seconds:
        """The later instant."""
        return cast(Seconds, _noted(one).later(_noted(other)))

    def as_added(self, seconds: Seconds) -> Seconds:
        """Those of the one deployment, as a number."""
        return cast(Seconds, float(seconds[0]))


@dataclass(frozen=True, slots=True)
class Noted:
    """A walk on a tape: at which place each chunk came out, and was taken if input always waits."""

    tape: Tape
    emitted: Sequence[int]
    taken: Sequence[int]


class NotedWalk(Walk):
    """A walk of one deployment on its first *chunks* only, that writes a tape."""

    def __init__(
        self, plan: Plan, latency: LatencyModel, live: Releases | None, chunks: int
    ) -> None:
        self.tape = Tape()
        super().__init__(plan, NotedCosts(plan, latency, self.tape), live, ())
        self.chunks = chunks
        self._came_out = [0] * chunks
        self._went_in = list[int]()

    def noted(self) -> Noted:
        """Walk to the end.

        Raises:
            RunError: ranks wait for each other.
        """
        self.course()
        return Noted(self.tape, self._came_out, self._went_in)

    def emit(self, chunk: int, at_s: Instants) -> None:
        """Note where *chunk* came out."""
        self._came_out[chunk] = _noted(at_s).place
        self.emitted += 1

    def await_chunk(self, rank: VectorRank, chunk: int) -> None:
        """Let *rank* wait until *chunk* is there; note where one that always waits is taken."""
        clock = _noted(rank.clock_s)
        if self.released is None:
            self._went_in.append(clock.place)
        else:
            released_s = float(self.released.at(chunk)[0])
            rank.clock_s = cast(Instants, clock.until(chunk, released_s))

    def comes_after(self, chunk: int, clock_s: Instants) -> NDArray[np.bool_]:
        """Whether *chunk* is not there yet, as a vector with one element."""
        assert self.released is not None
        return self.released.at(chunk) > _noted(clock_s).value_s


def _noted(at_s: Instants) -> Instant:
    """The instant that stands for the vector *at_s*."""
    return cast(Instant, at_s)
