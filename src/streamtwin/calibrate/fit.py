"""Which form and which parameters follow from the raw times, and how wrong are they?

Parameters are the non-negative least squares of relative errors. A form is chosen by leaving out
one configuration at a time among the fitted ones. Held-out cases are never seen by parameters or
choice; with the left-out ones they give the width of the 90 % interval.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from streamtwin.calibrate.fitted import Fit, Parameter, Point
from streamtwin.calibrate.forms import (
    FORMS,
    Family,
    Form,
    Terms,
    coordinates,
    family_of,
    subject_of,
)
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.least_squares import Solution, half_width, solve
from streamtwin.calibrate.observed import Observed, expected_s, observe
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Op

ROUNDING = 9
"""Decimals of a relative error that mean something; the rest is rounding of the arithmetic."""


def fit_all(measurements: Iterable[Measurement]) -> tuple[Fit, ...]:
    """Fit every family at every number of ranks that was measured."""
    groups: dict[tuple[int, Family, str], list[Observed]] = {}
    for one in observe(measurements):
        key = (one.case.ranks, family_of(one.case.op), subject_of(one.case.op))
        groups.setdefault(key, []).append(one)
    return tuple(fit_family(group) for _, group in sorted(groups.items(), key=lambda kv: kv[0]))


def fit_family(observed: Sequence[Observed]) -> Fit:
    """Fit each form of the family, keep the one with the smallest left-out error.

    Raises:
        CalibrationError: everything is held out.
    """
    family = family_of(observed[0].case.op)
    fitted = [one for one in observed if not one.case.held_out]
    if not fitted:
        raise CalibrationError(f"{family}: all {len(observed)} configurations are held out")
    names = [name for name, form in FORMS.items() if family in form.families and not form.sums]
    errors = {name: _left_out_errors(FORMS[name], fitted) for name in names}
    alternatives = {name: fmean(map(abs, found or [1.0])) for name, found in errors.items()}
    # equal but for rounding: the form that is listed first, which has fewer parameters
    best = min(alternatives, key=lambda name: round(alternatives[name], ROUNDING))
    knob, solution = _solve_best(_designs(FORMS[best], fitted), fitted, range(len(fitted)))
    held_out = _errors(FORMS[best], knob, solution, [o for o in observed if o.case.held_out])
    fit = Fit(
        family=family,
        subject=subject_of(fitted[0].case.op),
        ranks=fitted[0].case.ranks,
        form=best,
        knob=knob,
        parameters=_parameters(solution),
        tags=tuple(dict.fromkeys(one.case.tag for one in fitted)),
        ranges=_ranges([one.case.op for one in fitted]),
        left_out_errors=tuple(errors[best]),
        held_out_errors=tuple(held_out),
        half_width=half_width([*errors[best], *held_out]),
        alternatives=alternatives,
    )
    return with_points(fit, observed)


def _parameters(solution: Solution) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name, value, solution.stderr[name]) for name, value in solution.values.items()
    )


def with_points(fit: Fit, observed: Iterable[Observed]) -> Fit:
    """The same fit with predicted beside measured for each of *observed*."""
    points = tuple(
        Point(
            op=one.case.op,
            ranks=one.case.ranks,
            tag=one.case.tag,
            measured_s=one.typical_s,
            predicted_s=fit.predict_s(one.case.op, one.case.tag),
            held_out=one.case.held_out,
            stable=one.stable,
            ratios=one.ratios,
            throttled=one.throttled,
        )
        for one in observed
    )
    return replace(fit, points=points)


_Designs = dict[float, list[Terms]]
"""Terms of all configurations, by candidate of the knob."""


def _designs(form: Form, fitted: Sequence[Observed]) -> _Designs:
    knobs = form.knobs([one.case.op for one in fitted])
    return {knob: [form.terms(one.case.op, one.case.tag, knob) for one in fitted] for knob in knobs}


def _solve_best(
    designs: _Designs, fitted: Sequence[Observed], kept: Sequence[int]
) -> tuple[float, Solution]:
    """The knob with the smallest squares on the *kept* configurations, and its parameters."""
    seconds = [fitted[i].typical_s for i in kept]
    found = [(knob, solve([rows[i] for i in kept], seconds)) for knob, rows in designs.items()]
    return min(found, key=lambda pair: pair[1].squares)


def _left_out_errors(form: Form, fitted: Sequence[Observed]) -> list[float]:
    """Error on each operation, predicted from the others only."""
    if not form.interpolates:
        return _repeat_errors(fitted)
    designs, errors = _designs(form, fitted), list[float]()
    for op in dict.fromkeys(one.case.op for one in fitted):
        kept = [i for i, one in enumerate(fitted) if one.case.op != op]
        if len(kept) > 1:
            knob, solution = _solve_best(designs, fitted, kept)
            out = [one for one in fitted if one.case.op == op]
            errors += _errors(form, knob, solution, out)
    return errors


def _errors(
    form: Form, knob: float, solution: Solution, observed: Sequence[Observed]
) -> list[float]:
    """Measured / predicted - 1 of each operation, both in the mean over its tags."""
    errors = []
    for op in dict.fromkeys(one.case.op for one in observed):
        same = [one for one in observed if one.case.op == op]
        terms = [form.terms(op, one.case.tag, knob) for one in same]
        predicted_s = fmean(
            sum(solution.values.get(name, 0.0) * value for name, value in each.items())
            for each in terms
        )
        if predicted_s > 0:
            errors.append(fmean(one.typical_s for one in same) / predicted_s - 1)
    return errors


def _repeat_errors(fitted: Sequence[Observed]) -> list[float]:
    """What a table can be wrong by: half of a case's times against the other half."""
    errors = []
    for one in fitted:
        halves = one.clean[::2], one.clean[1::2]
        if halves[1]:
            errors += [expected_s(a) / expected_s(b) - 1 for a, b in (halves, halves[::-1])]
    return errors


def _ranges(ops: Sequence[Op]) -> dict[str, tuple[float, float]]:
    each = [coordinates(op) for op in ops]
    return {
        name: (float(min(c[name] for c in each)), float(max(c[name] for c in each)))
        for name in each[0]
    }
