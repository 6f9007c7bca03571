"""How often does everything start, and how much of the time left does each start get?

Starts of the processes differ more than repetitions in one, so the time that remains beyond the
fewest times of each case goes into starting everything again first, into repetitions then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.design import Choice
from streamtwin.calibrate.expected import Expectation
from streamtwin.calibrate.grid import Part

MAX_STARTS = 8
"""Starts of each part at most. The third tells scatter from chance; more tell how much a shared host
differs from minute to minute, which a larger budget is for."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a part's processes: the cases to time, and which round of starts it is in."""

    part: Part
    cases: tuple[Case, ...]
    sweep: int = 0


def least_s(start: Start, expectation: Expectation) -> float:
    """Seconds of *start* with the fewest times of each case."""
    return expectation.start_s(start.part) + sum(map(expectation.least_s, start.cases))


def sweep_of(parts: Sequence[Part], choice: Choice, sweep: int = 0) -> list[Start]:
    """A start of every part that has chosen cases."""
    return [Start(part, cases, sweep) for part in parts if (cases := choice.of(part))]


def starts_within(budget_s: float, sweep: Sequence[Start], expectation: Expectation) -> int:
    """How often *sweep* can be done in *budget_s*: once at least, MAX_STARTS times at most."""
    once_s = sum(least_s(start, expectation) for start in sweep)
    return max(1, min(MAX_STARTS, int(budget_s / once_s)))


def allotment_s(
    left_s: float, start: Start, later: Sequence[Start], expectation: Expectation
) -> float:
    """Seconds of *left_s* that *start* gets when *later* are still to come.

    Each gets its least. What is beyond goes where repetitions reduce the error of a sum of
    services most: rounds in proportion to S / sqrt(T), so time to S sqrt(T), where T is a round's
    time and S^2 the sum of its cases' variances in seconds (Neyman's allocation).
    """
    beyond_s = left_s - sum(least_s(one, expectation) for one in (start, *later))
    weights = [_weight(one, expectation) for one in (start, *later)]
    share = weights[0] / sum(weights)
    return least_s(start, expectation) + max(0.0, beyond_s) * share


def _weight(start: Start, expectation: Expectation) -> float:
    round_s = sum(map(expectation.case_s, start.cases))
    variance = sum(
        (expectation.spread(case) * expectation.case_s(case)) ** 2 for case in start.cases
    )
    return float((variance * round_s) ** 0.5)
