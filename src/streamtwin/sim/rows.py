"""Which instants do steps give that are repeated, if the same of two instants is always the later?

Each step has a row: its instant in each repetition. It follows from the row of one other step, which
the winners name; a step that so follows from itself, some repetitions before, is a running sum.
"""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np

from streamtwin.sim.tape import Step
from streamtwin.sim.vector_costs import Instants

PAST = 64
"""Repetitions of the past that are kept at most: a running sum may begin in several of them, as many
as there are items under way."""

Release = Callable[[int], Instants]
"""When a chunk of the first repetition, and those that take its place in the others, exist."""


class Rows:
    """Instants in seconds of *steps* in *many* repetitions: [steps, before + many].

    *past* has the instants of all earlier steps, the last one last. *winners* has for each step
    whether the first of its two instants is the later; of a chunk that is waited for it is not.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        past: Sequence[float],
        many: int,
        winners: Sequence[bool],
        release: Release,
    ) -> None:
        self.steps, self.many, self.release = steps, many, release
        self._released: dict[int, Instants] = {}
        self._summed: set[int] = set()
        """Steps whose rows are running sums, begun by instants of one of them only."""
        self._from = [
            self._place(i, step, won)
            for i, (step, won) in enumerate(zip(steps, winners, strict=True))
        ]
        self.before = min(len(past) // len(steps), PAST)
        self.all_s = np.empty((len(steps), self.before + many))
        known = np.array(past[len(past) - self.before * len(steps) :])
        self.all_s[:, : self.before] = known.reshape(self.before, len(steps)).T

    def _place(self, i: int, step: Step, won: bool) -> tuple[int, int] | None:
        """From which step that one follows, and how many repetitions back; None: from a release."""
        if step.kind == "until" and not won:
            return None
        return self._back(i, step.back if won else step.other)

    def _back(self, i: int, back: int) -> tuple[int, int]:
        repetitions, place = divmod(i - back, len(self.steps))
        return place, -repetitions

    def row(self, i: int) -> Instants:
        """The instants of step *i*."""
        return self.all_s[i, self.before :]

    def past_s(self, many: int) -> list[float]:
        """Instants of the last steps, when so *many* repetitions are over."""
        return self.all_s[:, many : many + self.before].T.ravel().tolist()

    def _shifted(self, place: int, repetitions: int) -> Instants:
        begin = self.before - repetitions
        return self.all_s[place, begin : begin + self.many]

    def fill(self) -> int:
        """Suppose the winners, and return of how many repetitions that gives the true instants."""
        if any(one is not None and one[1] > self.before for one in self._from):
            return 0
        done: set[int] = set()
        for first in range(len(self.steps)):
            path, known = self._path(first, done)
            if known in path:
                begins = path.index(known)
                circle = path[begins:][::-1]
                if not self._run(circle):
                    return 0
                self._summed |= set(circle)
                path = path[:begins]
            for i in reversed(path):
                self._follow(i)
        return self._true()

    def _path(self, first: int, done: set[int]) -> tuple[list[int], int | None]:
        """Steps from *first* back to one that is known or comes again, and that one."""
        path: list[int] = []
        here: int | None = first
        while here is not None and here not in done:
            done.add(here)
            path.append(here)
            origin = self._from[here]
            here = None if origin is None else origin[0]
        return path, here

    def _follow(self, i: int) -> None:
        """Fill row *i* from the row that the winners name."""
        origin, step, row = self._from[i], self.steps[i], self.row(i)
        if origin is None:
            row[:] = self._release(step.other)
        elif step.kind == "after":
            np.add(self._shifted(*origin), step.seconds, out=row)
        else:
            row[:] = self._shifted(*origin)

    def _run(self, circle: Sequence[int]) -> bool:
        """Fill the rows of *circle*, each of which follows from the one before it.

        Returns whether it can be done: it is a running sum that the past can begin.
        """
        lags = [origin[1] for i in circle if (origin := self._from[i]) is not None]
        adds = [self.steps[i].seconds for i in circle if self.steps[i].kind == "after"]
        lag = sum(lags)
        if lag > self.before or not adds:
            return False
        rounds = ceil(self.many / lag) + 1
        each = np.empty((lag, 1 + rounds, len(adds)))
        each[:, 1:] = adds
        sums = each.reshape(lag, -1)[:, len(adds) - 1 :]
        sums[:, 0] = self.all_s[circle[-1], self.before - lag : self.before]
        # one sum after the other, as clocks add: not in pairs
        np.add.accumulate(sums, axis=1, out=sums)
        added = gone = 0
        here_s = sums[:, :: len(adds)].T.ravel()
        for i, own in zip(circle, lags, strict=True):
            gone += own
            if self.steps[i].kind == "after":
                added += 1
                here_s = sums[:, added :: len(adds)].T.ravel()
            self.row(i)[:] = here_s[lag - gone :][: self.many]
        return True

    def _true(self) -> int:
        """Repetitions in which every step gives its row.

        Running sums and waits for input are done once more; of two instants the supposed winner's
        row was taken, so the loser's must not be later.
        """
        most = self.many
        differs, scratch_s = np.empty(most, dtype=np.bool_), np.empty(most)
        for i, step in enumerate(self.steps):
            if i in self._summed or step.kind == "until":
                self._again(i, step, scratch_s)
                np.not_equal(scratch_s, self.row(i), out=differs)
            elif step.kind == "later":
                np.greater(self._loser(i, step), self.row(i), out=differs)
            else:
                continue  # the row is that sum, and what was added to has not changed since
            if differs.any():
                most = min(most, int(differs.argmax()))
        return most

    def _loser(self, i: int, step: Step) -> Instants:
        """The row that is supposed not to be later than row *i*, which is the other one."""
        place = self._back(i, step.back)
        return self._shifted(*(self._back(i, step.other) if place == self._from[i] else place))

    def _again(self, i: int, step: Step, into: Instants) -> None:
        """Do step *i* on whole rows, *into* an array for its row."""
        one = self._shifted(*self._back(i, step.back))
        match step.kind:
            case "after":
                np.add(one, step.seconds, out=into)
            case "later":
                np.maximum(one, self._shifted(*self._back(i, step.other)), out=into)
            case "until":
                np.subtract(self._release(step.other), one, out=into)
                np.maximum(0.0, into, out=into)
                np.add(one, into, out=into)
            case _:
                raise AssertionError(step)

    def _release(self, chunk: int) -> Instants:
        """When *chunk* and those that take its place exist."""
        if chunk not in self._released:
            self._released[chunk] = self.release(chunk)
        return self._released[chunk]
