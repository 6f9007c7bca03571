"""Which form predicts best what it has not seen?

Each form that has enough configurations is fitted without one operation at a time and judged by
its errors on the one left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from streamtwin.calibrate.fitted import LeftOut
from streamtwin.calibrate.forms import FORMS, Form, Knobs
from streamtwin.calibrate.least_squares import (
    Amounts,
    Solution,
    amounts_of,
    least_squares,
    solve,
)
from streamtwin.calibrate.observed import Observed, expected_s
from streamtwin.calibrate.terms import Terms
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Family, Op

LUCK = 0.1
"""By how much of its error a form must beat those listed before it, which have fewer parameters.

With some twenty configurations smaller differences are luck, and an interval that is made from the
luckiest form's errors is too narrow.
"""

EXACT = 1e-9
"""Relative errors below this are rounding of the arithmetic, so forms with them are equal."""

TRUSTED = 0.03
"""Mean left-out error up to which a form replaces a table, which knows its entries better but
nothing else."""

REFINEMENTS = 16
"""Rounds in which the knobs of a smooth form are moved; each tries every knob both ways."""

FIRST_STEP = 2**0.5
"""By which factor knobs are moved; where that does not help, by its square root from then on."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A form, what it was wrong by, and its left-out models where it has any."""

    name: str
    errors: tuple[float, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def mean_error(self) -> float:
        """Mean absolute left-out error; 1 where nothing could be left out."""
        return fmean(map(abs, self.errors)) if self.errors else 1.0


@dataclass(frozen=True, slots=True)
class _Data:
    """Fitted configurations with their typical times, looked up once."""

    observed: Sequence[Observed]
    seconds: Sequence[float]

    @property
    def ops(self) -> list[Op]:
        return list(dict.fromkeys(one.case.op for one in self.observed))


def try_forms(family: Family, fitted: Sequence[Observed]) -> list[Tried]:
    """Every form of *family* that has enough of the *fitted* configurations, in listed order.

    Raises:
        CalibrationError: there are too few for any form; says how many there are and are needed.
    """
    data = _Data(fitted, [one.typical_s for one in fitted])
    names = [name for name, form in FORMS.items() if family in form.families and not form.sums]
    needed = {name: configurations_needed(FORMS[name], fitted) for name in names}
    offered = [name for name in names if len(fitted) >= needed[name]]
    if not offered:
        least = min(needed, key=lambda name: needed[name])
        raise CalibrationError(
            f"{family}: {len(fitted)} configurations are too few to fit: the simplest form, "
            f"{least}, needs {needed[least]} besides those held out"
        )
    return [_try(name, data) for name in offered]


def configurations_needed(form: Form, fitted: Sequence[Observed]) -> int:
    """As many as *form* has terms and knobs there; two at least, of a table one."""
    if not form.interpolates:
        return 1
    knobs = form.knobs([one.case.op for one in fitted])[0]
    rows = [form.terms(one.case.op, one.case.tag, *knobs) for one in fitted]
    return max(2, len(_present(rows)) + len(form.knob_names))


def choose(tried: Sequence[Tried]) -> Tried:
    """The form with the smallest mean left-out error, of about equal ones the first.

    A table is judged by its own entries measured again. Another form is preferred to it only
    where that one predicts what it has not seen about as well.
    """
    forms = [one for one in tried if FORMS[one.name].interpolates]
    tables = [one for one in tried if not FORMS[one.name].interpolates]
    least = min((one.mean_error for one in forms), default=0.0)
    enough = max(least * (1 + LUCK), EXACT)
    best = next((one for one in forms if one.mean_error <= enough), None)
    if best is not None and (not tables or best.mean_error <= TRUSTED):
        return best
    return tables[0]


def solve_form(name: str, fitted: Sequence[Observed]) -> tuple[Knobs, Solution]:
    """Knobs and parameters of the form *name* on all *fitted* configurations."""
    data = _Data(fitted, [one.typical_s for one in fitted])
    return _best(_Designs(FORMS[name], data), range(len(fitted)))


def errors_of(
    name: str, knobs: Knobs, solution: Solution, observed: Sequence[Observed]
) -> list[float]:
    """Measured / predicted - 1 of each operation, both in the mean over its tags."""
    errors = []
    for op in dict.fromkeys(one.case.op for one in observed):
        same = [one for one in observed if one.case.op == op]
        terms = [FORMS[name].terms(op, one.case.tag, *knobs) for one in same]
        predicted_s = fmean(solution.predict_s(each) for each in terms)
        if predicted_s > 0:
            errors.append(fmean(one.typical_s for one in same) / predicted_s - 1)
    return errors


class _Designs:
    """Terms of all configurations by knobs, computed once however many are left out in turn."""

    def __init__(self, form: Form, data: _Data) -> None:
        self.form, self.data = form, data
        self.candidates = form.knobs(data.ops)
        self._found: dict[Knobs, Amounts] = {}

    def rows(self, knobs: Knobs) -> list[Terms]:
        return [self.form.terms(one.case.op, one.case.tag, *knobs) for one in self.data.observed]

    def squares(self, knobs: Knobs, kept: Sequence[int]) -> float:
        """What the best parameters leave of the *kept* configurations."""
        if knobs not in self._found:
            self._found[knobs] = amounts_of(self.rows(knobs))
        return least_squares(self._found[knobs], self.data.seconds, kept)


def _best(designs: _Designs, kept: Sequence[int]) -> tuple[Knobs, Solution]:
    """The knobs with the smallest squares on the *kept* configurations, and the parameters."""

    def judged(knobs: Knobs) -> tuple[Knobs, float]:
        return knobs, designs.squares(knobs, kept)

    best = min(map(judged, designs.candidates), key=_squares)
    step = FIRST_STEP
    for _ in range(REFINEMENTS if designs.form.smooth else 0):
        found = min(map(judged, _beside(best[0], step)), key=_squares, default=best)
        step = step if _squares(found) < _squares(best) else step**0.5
        best = min(best, found, key=_squares)
    rows = designs.rows(best[0])
    return best[0], solve([rows[i] for i in kept], [designs.data.seconds[i] for i in kept])


def _squares(found: tuple[Knobs, float]) -> float:
    return found[1]


def _beside(knobs: Knobs, factor: float) -> list[Knobs]:
    """*knobs* with one of them larger or smaller by *factor*."""
    return [
        (*knobs[:i], knob * by, *knobs[i + 1 :])
        for i, knob in enumerate(knobs)
        if knob
        for by in (factor, 1 / factor)
    ]


def _try(name: str, data: _Data) -> Tried:
    form = FORMS[name]
    if not form.interpolates:
        return Tried(name, tuple(_repeat_errors(data.observed)))
    designs = _Designs(form, data)
    found = [one for op in data.ops for one in _leave_out(name, designs, data, op)]
    return Tried(name, tuple(one.error for one in found), tuple(found))


def _leave_out(name: str, designs: _Designs, data: _Data, op: Op) -> list[LeftOut]:
    """The model without *op* and its error there; none where the others know nothing of it."""
    kept = [i for i, one in enumerate(data.observed) if one.case.op != op]
    if len(kept) < 2:
        return []
    knobs, solution = _best(designs, kept)
    out = [one for one in data.observed if one.case.op == op]
    rows = designs.rows(knobs)
    known = _present(rows[i] for i in kept)
    if _present(FORMS[name].terms(op, one.case.tag, *knobs) for one in out) - known:
        return []
    measured_s = fmean(data.seconds[i] for i, one in enumerate(data.observed) if one.case.op == op)
    return [
        LeftOut(knobs, solution.values, error, measured_s / (1 + error))
        for error in errors_of(name, knobs, solution, out)
    ]


def _present(rows: Iterable[Terms]) -> set[str]:
    """Names of the terms that any of *rows* has some of."""
    return {name for row in rows for name, amount in row.items() if amount}


def _repeat_errors(fitted: Sequence[Observed]) -> list[float]:
    """What a table can be wrong by: half of a case's times against the other half."""
    errors = []
    for one in fitted:
        halves = one.clean[::2], one.clean[1::2]
        if halves[1]:
            errors += [expected_s(a) / expected_s(b) - 1 for a, b in (halves, halves[::-1])]
    return errors
