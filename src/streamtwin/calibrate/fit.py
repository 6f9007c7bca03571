"""Which form and which parameters follow from the raw times, and how wrong are they?

Parameters are the non-negative least squares of relative errors on case medians. A form is chosen
by leaving out one configuration at a time among the fitted ones. Held-out cases are never seen by
parameters or choice; with the left-out ones they give the width of the 90 % interval.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import fmean, median
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import nnls

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.forms import (
    FORMS,
    Family,
    Form,
    Terms,
    coordinates,
    family_of,
    subject_of,
)
from streamtwin.calibrate.harness import UNSTABLE, Measurement, relative_iqr
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Op

COVERAGE = 0.9
"""Share of configurations whose median is to lie inside the interval."""

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Seconds per unit of a term, with its standard error; None where it rests at its bound, 0."""

    name: str
    value: NonNegative
    stderr: NonNegative | None


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration: what was measured of it, and what the fit says.

    `ratios` are all its raw times after warm-up divided by the median.
    """

    op: Op
    ranks: int
    tag: str
    measured_s: float
    predicted_s: float
    held_out: bool
    stable: bool
    ratios: tuple[float, ...]

    @property
    def error(self) -> float:
        """Signed relative error of the prediction."""
        return self.predicted_s / self.measured_s - 1


@dataclass(frozen=True, slots=True)
class Fit:
    """A form fitted to one family of operations on a host with `ranks` computing processes.

    `ranges` bound every coordinate. `left_out_errors` and `held_out_errors` are
    measured / predicted - 1, `alternatives` the mean absolute left-out error by form, and
    `half_width` that of the 90 % interval as a share of the prediction.
    """

    family: Family
    subject: str
    ranks: int
    form: str
    knob: NonNegative
    parameters: tuple[Parameter, ...]
    tags: tuple[str, ...]
    ranges: dict[str, tuple[Finite, Finite]]
    left_out_errors: tuple[Finite, ...]
    held_out_errors: tuple[Finite, ...]
    half_width: NonNegative
    alternatives: dict[str, NonNegative]
    points: Annotated[tuple[Point, ...], Field(exclude=True)] = ()

    def predict_s(self, op: Op, tag: str | None = None) -> float:
        """Predicted seconds of *op*, in the mean over all tags when none is named.

        Raises:
            CalibrationError: the form knows nothing of *op*.
        """
        tags = self.tags if tag is None else (tag,)
        values = {parameter.name: parameter.value for parameter in self.parameters}
        return fmean(_evaluate(FORMS[self.form].terms(op, t, self.knob), values) for t in tags)

    @property
    def held_out_error(self) -> float | None:
        """Median absolute relative error on held-out configurations; None without any."""
        errors = [abs(point.error) for point in self.points if point.held_out]
        return median(errors) if errors else None


@dataclass(frozen=True, slots=True)
class Observed:
    """One configuration with its raw times after warm-up, those of every rank together.

    `clean` are the times that no other process disturbed, `times` all of them.
    """

    case: Case
    times: tuple[float, ...]
    clean: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median of the clean times over all ranks."""
        return median(self.clean)


@dataclass(frozen=True, slots=True)
class Solution:
    """Non-negative parameters by term, with standard errors and the sum of squared errors."""

    values: dict[str, float]
    stderr: dict[str, float | None]
    squares: float


def observe(measurements: Iterable[Measurement]) -> list[Observed]:
    """Put the ranks' measurements of each case together."""
    ranks: dict[Case, list[Measurement]] = {}
    for measurement in measurements:
        ranks.setdefault(measurement.case, []).append(measurement)
    return [
        Observed(
            case,
            tuple(time for one in each for time in one.steady),
            tuple(time for one in each for time in one.clean),
        )
        for case, each in ranks.items()
    ]


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
    forms = {name: form for name, form in FORMS.items() if family in form.families}
    errors = {name: _left_out_errors(form, fitted) for name, form in forms.items()}
    alternatives = {name: fmean(map(abs, found or [1.0])) for name, found in errors.items()}
    best = min(alternatives, key=lambda name: alternatives[name])
    knob, solution = _solve_form(forms[best], fitted)
    held_out = [
        one.median_s
        / _evaluate(forms[best].terms(one.case.op, one.case.tag, knob), solution.values)
        - 1
        for one in observed
        if one.case.held_out
    ]
    fit = Fit(
        family=family,
        subject=subject_of(fitted[0].case.op),
        ranks=fitted[0].case.ranks,
        form=best,
        knob=knob,
        parameters=tuple(
            Parameter(name, value, solution.stderr[name]) for name, value in solution.values.items()
        ),
        tags=tuple(dict.fromkeys(one.case.tag for one in fitted)),
        ranges=_ranges([one.case.op for one in fitted]),
        left_out_errors=tuple(errors[best]),
        held_out_errors=tuple(held_out),
        half_width=half_width([*errors[best], *held_out]),
        alternatives=alternatives,
    )
    return with_points(fit, observed)


def with_points(fit: Fit, observed: Iterable[Observed]) -> Fit:
    """The same fit with predicted beside measured for each of *observed*."""
    points = tuple(
        Point(
            op=one.case.op,
            ranks=one.case.ranks,
            tag=one.case.tag,
            measured_s=one.median_s,
            predicted_s=fit.predict_s(one.case.op, one.case.tag),
            held_out=one.case.held_out,
            stable=relative_iqr(one.clean) <= UNSTABLE,
            ratios=tuple(time / one.median_s for time in one.times),
        )
        for one in observed
    )
    return replace(fit, points=points)


def solve(rows: Sequence[Terms], seconds: Sequence[float]) -> Solution:
    """Minimise the squared relative errors of sum(parameter * term) over parameters >= 0."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    times = np.asarray(seconds)
    design = np.array([[row.get(name, 0.0) for name in names] for row in rows]) / times[:, None]
    # Terms span ten orders of magnitude; columns of equal length keep the solver exact.
    scale = np.where(design.any(axis=0), np.linalg.norm(design, axis=0), 1.0)
    scaled, residual = nnls(design / scale, np.ones(len(times)))
    stderr = _stderr(design / scale, scaled, residual**2)
    return Solution(
        values={name: float(v) for name, v in zip(names, scaled / scale, strict=True)},
        stderr={
            name: None if np.isnan(e) else float(e)
            for name, e in zip(names, stderr / scale, strict=True)
        },
        squares=float(residual**2),
    )


def _stderr(
    design: NDArray[np.float64], values: NDArray[np.float64], squares: float
) -> NDArray[np.float64]:
    """Standard errors of the parameters that are off their bound; NaN for the others."""
    free = values > 0
    stderr = np.full(len(values), np.nan)
    degrees = len(design) - int(free.sum())
    if degrees > 0 and free.any():
        active = design[:, free]
        stderr[free] = np.sqrt(squares / degrees * np.diag(np.linalg.pinv(active.T @ active)))
    return stderr


def half_width(errors: Sequence[float]) -> float:
    """Half-width of the interval from relative *errors*: their split-conformal quantile.

    With too few errors for the coverage the largest one stands, a little enlarged.
    """
    ordered = sorted(map(abs, errors))
    rank = ceil(COVERAGE * (len(ordered) + 1))
    if rank <= len(ordered):
        return ordered[rank - 1]
    return ordered[-1] * rank / len(ordered) if ordered else 1.0


def _solve_form(form: Form, fitted: Sequence[Observed]) -> tuple[float, Solution]:
    """The knob with the smallest squares, and the parameters at it."""
    seconds = [one.median_s for one in fitted]
    found = [
        (knob, solve([form.terms(one.case.op, one.case.tag, knob) for one in fitted], seconds))
        for knob in form.knobs([one.case.op for one in fitted])
    ]
    return min(found, key=lambda pair: pair[1].squares)


def _left_out_errors(form: Form, fitted: Sequence[Observed]) -> list[float]:
    """Measured / predicted - 1 of each configuration, predicted from the others."""
    if not form.interpolates:
        return _repeat_errors(fitted)
    errors = []
    for place, one in enumerate(fitted):
        others = [*fitted[:place], *fitted[place + 1 :]]
        if len(others) < 2:
            continue
        knob, solution = _solve_form(form, others)
        terms = form.terms(one.case.op, one.case.tag, knob)
        predicted = sum(solution.values.get(name, 0.0) * value for name, value in terms.items())
        if predicted > 0:
            errors.append(one.median_s / predicted - 1)
    return errors


def _repeat_errors(fitted: Sequence[Observed]) -> list[float]:
    """What a table can be wrong by: half of a case's times against the median of the others."""
    errors = []
    for one in fitted:
        halves = one.clean[::2], one.clean[1::2]
        if halves[1]:
            errors += [median(a) / median(b) - 1 for a, b in (halves, halves[::-1])]
    return errors


def _evaluate(terms: Terms, values: dict[str, float]) -> float:
    unknown = [name for name in terms if name not in values]
    if unknown:
        raise CalibrationError(f"nothing was measured at {unknown[0]}; known: {', '.join(values)}")
    return sum(values[name] * value for name, value in terms.items())


def _ranges(ops: Sequence[Op]) -> dict[str, tuple[float, float]]:
    each = [coordinates(op) for op in ops]
    return {
        name: (float(min(c[name] for c in each)), float(max(c[name] for c in each)))
        for name in each[0]
    }
