"""Which start of which part is measured next, for how long, and when is a round of starts over?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from streamtwin.calibrate.design import choose
from streamtwin.calibrate.expected import Ceilings, Expectation, expect
from streamtwin.calibrate.grid import Part
from streamtwin.calibrate.harness import Clock, Measurement
from streamtwin.calibrate.journal import Journal
from streamtwin.calibrate.launch import Launch
from streamtwin.calibrate.schedule import (
    MAX_STARTS,
    Start,
    allotment_s,
    least_s,
    starts_within,
    sweep_of,
)

Progress = Callable[[float, str], None]


class Measuring:
    """Fills *journal* with times of *parts* within *budget_s*, in rounds of starts.

    What passes between two rounds, while somebody else works, does not count.
    """

    def __init__(
        self,
        journal: Journal,
        parts: Sequence[Part],
        ceilings: Ceilings,
        budget_s: float,
        clock: Clock,
        launch: Launch,
        on_progress: Progress,
    ) -> None:
        self.journal, self.parts, self.ceilings = journal, parts, ceilings
        self.budget_s, self.clock, self.launch, self.on_progress = (
            budget_s, clock, launch, on_progress,
        )  # fmt: skip
        self._spent_s, self._resumed_s = journal.spent_s, clock()

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget_s - self._spent_s - (self.clock() - self._resumed_s)

    def rounds(self) -> Iterator[int]:
        """Measure all parts once, then again as often as there is time.

        Gives, behind every round of starts, how many more are expected; goes on when asked for the
        next.
        """
        expected = self._first_round()
        yield from self._paused(expected)
        expectation = expect(self.ceilings, self.journal.measurements)
        again = self._again()
        for number in range(1, MAX_STARTS):
            own = [place for place, start in enumerate(again) if start.sweep == number]
            done = [self._once_more(again, place, expectation) for place in own]
            if any(done):
                yield from self._paused(max(0, expected - number))

    def _paused(self, expected: int) -> Iterator[int]:
        self._spent_s += self.clock() - self._resumed_s
        yield expected
        self._resumed_s = self.clock()

    def _first_round(self) -> int:
        """Start every part once; how many rounds more there should be time for."""
        more = 0
        for number, part in enumerate(self.parts):
            expectation = expect(self.ceilings, self.journal.measurements)
            choice = choose(self.parts, expectation, self.budget_s)
            sweep = sweep_of(self.parts, choice)
            more = starts_within(self.budget_s, sweep, expectation) - 1
            cases = self.journal.missing(0, part.label, choice.of(part))
            if cases and not self.journal.is_done(0, part.label):
                following = [start for start in sweep if start.part in self.parts[number + 1 :]]
                self._run(Start(part, cases), [*following, *sweep * more], expectation)
        return more

    def _again(self) -> list[Start]:
        """Everything that was measured, part by part, in as many rounds as there may be."""
        measured = {one.case for one in self.journal.measurements}
        return [
            Start(part, cases, number)
            for number in range(1, MAX_STARTS)
            for part in self.parts
            if (cases := tuple(case for case in part.cases if case in measured))
        ]

    def _once_more(self, again: Sequence[Start], place: int, expectation: Expectation) -> bool:
        """Perform the start at *place* of *again* if its fewest times still fit; whether it did."""
        start, journal = again[place], self.journal
        sweep, label = start.sweep, start.part.label
        cases = journal.missing(sweep, label, start.cases)
        begun = len(cases) < len(start.cases)
        needed_s = least_s(replace(start, cases=cases), expectation)
        if not cases or journal.is_done(sweep, label) or not (begun or self.left_s >= needed_s):
            return False
        later = _affordable(again[place + 1 :], self.left_s - needed_s, expectation)
        self._run(replace(start, cases=cases), later, expectation)
        return True

    def _run(self, start: Start, later: Sequence[Start], expectation: Expectation) -> None:
        """Perform one start and keep its times as they come."""
        share_s = allotment_s(self.left_s, start, later, expectation)
        began_s, done_s, journal = self.clock(), self.budget_s - self.left_s, self.journal
        run = journal.begin(start.sweep, start.part.label)
        text = start.part.label + (f", start {run + 1}" if run else "")

        def hear(said: float | list[Measurement]) -> None:
            if isinstance(said, list):
                journal.take(said, self.clock() - began_s)
            else:
                self.on_progress(min(1.0, (done_s + said * share_s) / self.budget_s), text)

        hear(0.0)
        for measured in self.launch(start, share_s, hear):
            journal.take(measured, self.clock() - began_s)
        journal.end()


def _affordable(starts: Sequence[Start], left_s: float, expectation: Expectation) -> list[Start]:
    """The first of *starts* that fit *left_s* together."""
    costs = accumulate(least_s(start, expectation) for start in starts)
    return [start for start, total_s in zip(starts, costs, strict=True) if total_s <= left_s]
