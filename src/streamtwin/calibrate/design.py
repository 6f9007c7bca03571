"""Which cases reduce the uncertainty most within a budget?

First comes the minimum: the cases that identify every parameter of each family's richest form without knobs and span
the range that the grid asks for. The others follow by what they add to the logarithm of the
determinant of the fit's information matrix (D-optimality) a second. Rows of the matrix are
terms over expected time, as the fit minimises relative errors. Held-out cases, which no fit sees,
are a design of their own by the same measure. The order does not depend on the budget, so a larger
budget never drops a case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.expected import Expectation
from streamtwin.calibrate.forms import FORMS, coordinates
from streamtwin.calibrate.grid import Part
from streamtwin.calibrate.samples import Group, group_of
from streamtwin.calibrate.terms import Terms
from streamtwin.core.errors import UserError
from streamtwin.core.ops import Family, family_of

PRIOR = 1e-3
"""Information that every parameter is given beforehand, so that a design may begin empty."""

WELL_APART = 0.1
"""Of the cases that show something new, those count as candidates that show at least this share of
the most that any shows: a cheap case nearly like another identifies nothing in noise."""

DESIGN_FORMS: dict[Family, str] = {
    "dit": "linear",
    "encode": "table",
    "decode": "table",
    "hop": "hop_linear",
}
"""The form whose parameters a design identifies; transfers have one form each."""

SAME = 1e-9
"""Squared length of a row's part outside a span from which on it is rounding."""

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Choice:
    """The cases chosen in the order of their worth, of which the first `minimum` are needed."""

    chosen: tuple[Case, ...]
    left_out: tuple[Case, ...]
    minimum: int
    expected_s: float
    minimum_s: float
    """Seconds of the chosen cases and of the minimum: one start each, its fewest times."""

    def of(self, part: Part) -> tuple[Case, ...]:
        """The chosen cases of *part*, in its order."""
        chosen = set(self.chosen)
        return tuple(case for case in part.cases if case in chosen)


def choose(parts: Sequence[Part], expectation: Expectation, budget_s: float) -> Choice:
    """As many cases, in the order of their worth, as one start of each part does in *budget_s*.

    The minimum is chosen even if it takes longer.

    Raises:
        UserError: *budget_s* is not positive.
    """
    if not budget_s > 0:
        raise UserError(f"budget_s = {budget_s}: give a positive number of seconds")
    minimum, rest = _ordered(parts, expectation)
    costs = _Costs(parts, expectation)
    total_s = minimum_s = sum(costs.open(case) for case in minimum)
    chosen = list(minimum)
    for case in rest:
        more_s = costs.open(case)
        if total_s + more_s > budget_s:
            break
        chosen.append(case)
        total_s += more_s
    left_out = tuple(rest[len(chosen) - len(minimum) :])
    return Choice(tuple(chosen), left_out, len(minimum), total_s, minimum_s)


class _Costs:
    """Seconds that one more case takes: with its part's start if it is the first of it."""

    def __init__(self, parts: Sequence[Part], expectation: Expectation) -> None:
        self.seconds = {case: expectation.least_s(case) for part in parts for case in part.cases}
        self.home = {case: number for number, part in enumerate(parts) for case in part.cases}
        self.closed = {number: expectation.start_s(part) for number, part in enumerate(parts)}

    def of(self, case: Case) -> float:
        """Seconds that *case* would take now."""
        return self.seconds[case] + self.closed.get(self.home[case], 0.0)

    def open(self, case: Case) -> float:
        """Seconds that *case* takes; its part has started from now on."""
        cost_s = self.of(case)
        self.closed.pop(self.home[case], None)
        return cost_s


def _ordered(
    parts: Sequence[Part], expectation: Expectation
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The minimum, and the other cases by gain a second."""
    groups: dict[tuple[Group, bool], list[Case]] = {}
    for case in (case for part in parts for case in part.cases):
        groups.setdefault((group_of(case), case.held_out), []).append(case)
    designs = [_Design(cases, expectation) for cases in groups.values()]
    costs = _Costs(parts, expectation)
    minimum = []
    for design, (_, held_out) in zip(designs, groups, strict=True):
        for case in () if held_out else design.minimum():
            design.add(case)
            costs.open(case)
            minimum.append(case)
    rest = []
    while best := max(
        (found for design in designs if (found := design.best(costs))), default=None,
        key=lambda found: found[0],
    ):  # fmt: skip
        _, case, design = best
        design.add(case)
        costs.open(case)
        rest.append(case)
    return tuple(minimum), tuple(rest)


class _Design:
    """The cases of one fit, of which more and more are taken."""

    def __init__(self, cases: Sequence[Case], expectation: Expectation) -> None:
        self.cases = list(cases)
        self.rows = dict(zip(cases, _matrix(cases, expectation), strict=True))
        self.seconds = {case: expectation.least_s(case) for case in cases}
        width = len(self.rows[cases[0]])
        self.inverse: Rows = np.eye(width) / PRIOR
        self.gains: list[float] = []

    def minimum(self) -> list[Case]:
        """Cases that identify every parameter, and those that reach each end of the range."""
        return list(dict.fromkeys([*self._identifying(), *self._ends()]))

    def _identifying(self) -> list[Case]:
        """Cheap cases, each with something that the ones before do not show, until none has."""
        beyond = dict(self.rows)  # what each row shows that those taken do not
        taken = []
        for _ in range(np.linalg.matrix_rank(np.array(list(self.rows.values())))):
            new = {case: float(row @ row) for case, row in beyond.items()}
            most = max(new.values())
            if most <= SAME:
                break
            apart = [case for case in self.cases if new[case] >= WELL_APART * most]
            best = max(apart, key=lambda case: new[case] / self.seconds[case])
            axis = beyond[best] / new[best] ** 0.5
            beyond = {case: row - (row @ axis) * axis for case, row in beyond.items()}
            taken.append(best)
        return taken

    def _ends(self) -> Iterable[Case]:
        """The cheapest case at either end of each coordinate: fits answer inside their range."""
        places = {case: coordinates(case.op) for case in self.cases}
        for name in places[self.cases[0]]:
            for end in (min, max):
                value = end(place[name] for place in places.values())
                at = [case for case in self.cases if places[case][name] == value]
                yield min(at, key=self.seconds.__getitem__)

    def best(self, costs: _Costs) -> tuple[float, Case, "_Design"] | None:
        """The case that is left with the largest gain a second, and that gain."""
        if self.cases and not self.gains:
            left = np.array([self.rows[case] for case in self.cases])
            self.gains = list(np.log1p(np.einsum("ij,jk,ik->i", left, self.inverse, left)))
        worth = (
            (gain / costs.of(case), case, self)
            for gain, case in zip(self.gains, self.cases, strict=True)
        )
        return max(worth, key=lambda found: found[0], default=None)

    def add(self, case: Case) -> None:
        """Take *case*: the inverse of the information with it, by Sherman and Morrison."""
        self.cases.remove(case)
        self.gains = []
        across = self.inverse @ self.rows[case]
        self.inverse = self.inverse - np.outer(across, across) / (1 + self.rows[case] @ across)


def _matrix(cases: Sequence[Case], expectation: Expectation) -> Rows:
    """Rows of terms over expected time, with columns of equal length."""
    terms = [first_terms(case, cases) for case in cases]
    names = list(dict.fromkeys(name for row in terms for name in row))
    times = np.array([expectation.case_s(case) for case in cases])
    rows = np.array([[row.get(name, 0.0) for name in names] for row in terms]) / times[:, None]
    lengths = np.linalg.norm(rows, axis=0)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def first_terms(case: Case, cases: Sequence[Case]) -> Terms:
    """Terms of *case* in the form that a design is made for, the knob at its first candidate."""
    form = FORMS[DESIGN_FORMS.get(family_of(case.op), "transfer")]
    return form.terms(case.op, case.tag, form.knobs([one.op for one in cases])[0])
