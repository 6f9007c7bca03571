"""After which walk does a stream repeat itself, and how does it end?

A walk of one deployment writes a tape (`sim.tape`). Once it stands as it stood some chunks before
(`sim.standing`), what it did in between comes again and again until the input ends; so the walk lets
its input end, and what follows is how the whole stream ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.sim.costs import full_from
from streamtwin.sim.maxplus import Releases
from streamtwin.sim.standing import Standing, standing
from streamtwin.sim.tape import Step, Tape
from streamtwin.sim.turn_ranks import TurnRank
from streamtwin.sim.turns import Turns


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps of a tape, from number *first* on, that are repeated: each time *chunks* further."""

    first: int
    steps: tuple[Step, ...]
    chunks: int

    @property
    def end(self) -> int:
        """Number of the step behind it."""
        return self.first + len(self.steps)

    def repeated(self, times: int) -> list[Step]:
        """Steps of so many repetitions, one after the other."""
        return [
            step.further(number * self.chunks) for number in range(times) for step in self.steps
        ]


@dataclass(frozen=True, slots=True)
class Noted:
    """A walk on a tape: at which place each chunk came out, and at which it was there and taken.

    `again` is the stretch that comes again; None: there is none.
    """

    tape: Tape
    emitted: Sequence[int]
    taken: Sequence[int]
    again: Stretch | None


class NotedWalk(Turns[int]):
    """A walk of one deployment that writes a tape, until it repeats itself: *chunks* at most."""

    def __init__(
        self, plan: Plan, latency: LatencyModel, live: Releases | None, chunks: int
    ) -> None:
        self.tape, self.live = Tape(plan, latency), live
        super().__init__(plan, self.tape, chunks)
        self._came_out, self._went_in = list[int](), list[int]()
        self._apart, self._full = chunks_apart(plan), full_from(plan)
        self._stood = list[Standing]()
        """How everything stood as chunks came out, from that on from which all are alike."""
        self._again: Stretch | None = None

    def noted(self) -> Noted:
        """Walk to the end.

        Raises:
            RunError: ranks wait for each other.
        """
        self.walk()
        return Noted(self.tape, self._came_out, self._went_in, self._again)

    def emit(self, chunk: int, at_s: int) -> None:
        """Note where *chunk* came out, and end the input where it stands as it stood before."""
        assert chunk == len(self._came_out), "chunks of one session come out in order"
        self._came_out.append(at_s)
        self.emitted += 1
        if self._again is None and chunk >= self._full:
            stood, apart = self._stood, self._apart
            stood.append(standing(self, at_s))
            if len(stood) > apart and stood[-1] == stood[-1 - apart]:
                first = self._came_out[-1 - apart] + 1
                steps = self.tape.steps[first : at_s + 1]
                self._again = Stretch(first, tuple(map(Step._make, steps)), apart)
                self.chunks = self._end_of_input()

    def _end_of_input(self) -> int:
        """Chunks after which the rest of the stream is whole stretches.

        One more is taken than was: rank 0's clock may show already when that is.
        """
        taken = self.entered + 1
        return taken + (self.plan.scenario.chunks - taken) % self._apart

    def waits(self, rank: TurnRank[int]) -> bool:
        """Whether the next chunk is not there yet."""
        live = self.live
        return live is not None and live.only(self.entered) > self.tape.values_s[rank.clock_s]

    def await_chunk(self, rank: TurnRank[int], chunk: int) -> None:
        """Let *rank* wait until *chunk* is there, and note where that is."""
        if self.live is not None:
            rank.clock_s = self.tape.until(rank.clock_s, chunk, self.live.only(chunk))
        self._went_in.append(rank.clock_s)


def chunks_apart(plan: Plan) -> int:
    """After how many chunks *plan* does the same again.

    In a stream batch every turn takes a chunk in, else each lane does in one of its N turns.
    """
    return 1 if plan.scenario.deployment.stream_batch else plan.lanes
