"""What would a calibration do, and what did it leave out? Rows and words for people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.design import Choice, choose
from streamtwin.calibrate.expected import Expectation
from streamtwin.calibrate.grid import Grid, Part, parts_of, resolution_text
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.schedule import least_s, starts_within, sweep_of
from streamtwin.core.ops import Family, family_of


@dataclass(frozen=True, slots=True)
class Line:
    """One operation of a part: how many of its cases are chosen, and their expected seconds."""

    model: str
    vae: str
    resolution: str
    ranks: int
    operation: Family
    chosen: int
    cases: int
    expected_s: float


@dataclass(frozen=True, slots=True)
class Programme:
    """All that a calibration would do within its budget; `expected_s` never less than needed.

    `starts_s` is the part of it that goes into starting processes and drawing weights.
    """

    lines: tuple[Line, ...]
    starts: int
    starts_s: float
    expected_s: float
    minimum_s: float
    budget_s: float
    left_out: tuple[str, ...]


def programme_of(grid: Grid, expectation: Expectation, budget_s: float) -> Programme:
    """Decide as a calibration of *grid* would, before it has seen any time."""
    parts = parts_of(grid)
    choice = choose(parts, expectation, budget_s)
    sweep = sweep_of(parts, choice)
    starts = starts_within(budget_s, sweep, expectation)
    once_s = sum(least_s(start, expectation) for start in sweep)
    return Programme(
        lines=tuple(line for part in parts for line in _lines(part, choice, starts, expectation)),
        starts=starts,
        starts_s=starts * sum(expectation.start_s(start.part) for start in sweep),
        expected_s=starts * once_s,
        minimum_s=choice.minimum_s,
        budget_s=budget_s,
        left_out=(*grid.skipped, *_not_among(parts, set(choice.chosen))),
    )


def _lines(part: Part, choice: Choice, starts: int, expectation: Expectation) -> Iterable[Line]:
    chosen, request = choice.of(part), part.request
    for family in dict.fromkeys(family_of(case.op) for case in part.cases):
        own = [case for case in chosen if family_of(case.op) == family]
        yield Line(
            model=request.model,
            vae=request.vae,
            resolution=resolution_text(request.resolution),
            ranks=part.ranks,
            operation=family,
            chosen=len(own),
            cases=sum(family_of(case.op) == family for case in part.cases),
            expected_s=starts * sum(map(expectation.least_s, own)),
        )


def left_out_words(
    grid: Grid, parts: Sequence[Part], measurements: Iterable[Measurement]
) -> list[str]:
    """What was asked and not measured, in words: for lack of memory, or of time."""
    return [*grid.skipped, *_not_among(parts, {one.case for one in measurements})]


def _not_among(parts: Sequence[Part], cases: set[Case]) -> list[str]:
    words = []
    for part in parts:
        missing = sum(case not in cases for case in part.cases)
        if missing:
            words.append(f"{part.label}: {missing} of {len(part.cases)} cases, for lack of time")
    return words
