"""When does everything happen in a stream whose steps are repeated until its input ends?"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from streamtwin.core.plan import Plan
from streamtwin.sim.maxplus import Course, Releases
from streamtwin.sim.noted import Noted, Stretch
from streamtwin.sim.rows import Rows
from streamtwin.sim.tape import Noting
from streamtwin.sim.vector_costs import Instants

INSTANTS_AT_ONCE = 2_000_000
"""Instants of steps that are held at once at most: 16 MB."""

Winners = tuple[bool, ...]
"""Of each step, whether the first of its two instants was the later."""


class Repeater:
    """Goes through a short stream's tape with a stretch of it repeated until a long one ends."""

    def __init__(self, plan: Plan, live: Releases | None, noted: Noted, stretch: Stretch) -> None:
        self.live, self.tape, self.noted, self.stretch = live, noted.tape, noted, stretch
        chunks = plan.scenario.chunks
        self.left = (chunks - len(noted.emitted)) // stretch.chunks
        """Repetitions that are still to come; `done` has how many were, the short walk's first."""
        self.done = 1
        self.past_s = noted.tape.values_s[: stretch.end]
        """Instants of the last steps, the latest last."""
        self.emitted_s = np.empty((chunks, 1))
        self.taken_s = np.empty((chunks, 1)) if live is None else None
        self._watched = max(2, plan.lanes)
        self._own = list(self._marks(stretch.first, stretch.end))

    def course(self) -> Course:
        """When every chunk came out, and was taken."""
        for column, chunk, place in self._marks(0, self.stretch.end):
            column[chunk] = self.past_s[place]
        watched = self._watched
        while self.left:
            seen = [self._one_by_one() for _ in range(min(watched, self.left))]
            turns = alternating(seen)
            if turns is None or self._at_once(seen[-turns:]) < watched:
                watched *= 2  # what does not settle soon is not tried again and again
        self._end()
        return Course(self.emitted_s, self.taken_s)

    def _marks(self, begin: int, end: int) -> Iterator[tuple[Instants, int, int]]:
        """Steps from *begin* to *end* at which chunks come out or are taken: where it is noted."""
        places = [(self.emitted_s, self.noted.emitted), (self.taken_s, self.noted.taken)]
        for column, own in places:
            for chunk, place in enumerate(own):
                if column is not None and begin <= place < end:
                    yield column[:, 0], chunk, place - begin

    def _one_by_one(self) -> Winners:
        """Go through the next repetition, step by step."""
        stretch, further, began = self.stretch, self.done * self.stretch.chunks, len(self.past_s)
        winners = self._go(stretch.steps, further)
        for column, chunk, i in self._own:
            column[chunk + further] = self.past_s[began + i]
        self.done, self.left = self.done + 1, self.left - 1
        return winners

    def _at_once(self, seen: Sequence[Winners]) -> int:
        """Repetitions that are done supposing that the winners that were *seen* alternate."""
        stretch, turns = self.stretch, len(seen)
        many = min(self.left // turns, INSTANTS_AT_ONCE // (turns * len(stretch.steps)))
        further, apart = self.done * stretch.chunks, turns * stretch.chunks

        def release(chunk: int) -> Instants:
            assert self.live is not None
            first = chunk + further
            return self.live.of(range(first, first + apart * many, apart), slice(1))[:, 0]

        winners = list(chain.from_iterable(seen))
        rows = Rows(stretch.repeated(turns), self.past_s, many, winners, release)
        true = rows.fill()
        for column, chunk, i in self._own:
            for turn in range(turns):
                first = chunk + further + turn * stretch.chunks
                row = rows.row(turn * len(stretch.steps) + i)[:true]
                column[first : first + apart * true : apart] = row
        self.past_s = rows.past_s(true)
        self.done, self.left = self.done + true * turns, self.left - true * turns
        return true * turns

    def _end(self) -> None:
        """Go through what follows the last repetition."""
        stretch, further = self.stretch, (self.done - 1) * self.stretch.chunks
        began = len(self.past_s)
        self._go(self.tape.steps[stretch.end :], further)
        for column, chunk, i in self._marks(stretch.end, len(self.tape.steps)):
            column[chunk + further] = self.past_s[began + i]

    def _go(self, steps: Sequence[Noting], further: int) -> Winners:
        """Go through *steps*, *further* chunks on."""
        past_s, winners = self.past_s, list[bool]()
        for kind, back, other, seconds in steps:
            here_s = past_s[-back]
            if kind == "after":
                won, value_s = True, here_s + seconds
            elif kind == "later":
                other_s = past_s[-other]
                won = here_s >= other_s
                value_s = here_s if won else other_s
            else:
                gap_s = self._released_s(other + further) - here_s
                won = gap_s <= 0.0
                value_s = here_s if won else here_s + gap_s
            past_s.append(value_s)
            winners.append(won)
        return tuple(winners)

    def _released_s(self, chunk: int) -> float:
        assert self.live is not None
        return self.live.only(chunk)


def alternating(seen: Sequence[Winners]) -> int | None:
    """After how many repetitions the last of those *seen* come again; None: they do not."""
    for turns in range(1, len(seen) // 2 + 1):
        if all(seen[-i] == seen[-i - turns] for i in range(1, turns + 1)):
            return turns
    return None
