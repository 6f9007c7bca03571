"""Which form and which parameters follow from the raw times, and how wrong are they?

Parameters are the non-negative least squares of relative errors. A form is chosen by leaving out
one operation at a time among the fitted ones, and the same left-out models give the interval.
Held-out cases are seen by none of them; they say how wrong predictions are, and how many of them
their intervals cover.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

from streamtwin.calibrate.choice import choose, errors_of, solve_form, try_forms
from streamtwin.calibrate.fitted import Fit, Parameter, Point
from streamtwin.calibrate.forms import coordinates, subject_of
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.jackknife import OFFSET, half_width
from streamtwin.calibrate.least_squares import Solution
from streamtwin.calibrate.observed import Observed, observe
from streamtwin.calibrate.variance import spread
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Family, Op, family_of


def fit_all(measurements: Iterable[Measurement]) -> tuple[Fit, ...]:
    """Fit every family of every model, VAE or link at every number of ranks that was measured.

    Raises:
        CalibrationError: a time is no positive number, or a family has too few configurations.
    """
    groups: dict[tuple[int, Family, str], list[Observed]] = {}
    for one in observe(measurements):
        groups.setdefault(_key(one), []).append(one)
    return tuple(fit_family(group) for _, group in sorted(groups.items(), key=lambda kv: kv[0]))


def _key(one: Observed) -> tuple[int, Family, str]:
    return one.case.ranks, family_of(one.case.op), subject_of(one.case.op)


def fit_family(observed: Sequence[Observed]) -> Fit:
    """Fit each form of the family, keep the one with the smallest left-out error.

    Raises:
        CalibrationError: everything is held out, there are too few configurations for any form,
            or they are not of one family, subject and number of ranks.
    """
    ranks, family, subject = _one_key(observed)
    fitted = [one for one in observed if not one.case.held_out]
    if not fitted:
        raise CalibrationError(f"{family}: all {len(observed)} configurations are held out")
    tried = try_forms(family, fitted)
    best = choose(tried)
    knobs, solution = solve_form(best.name, fitted)
    held_out = [one for one in observed if one.case.held_out]
    typical_s = median(one.typical_s for one in fitted)
    offset_s = OFFSET * typical_s if best.left_out else 0.0
    scores = [one.score(offset_s) for one in best.left_out] or best.errors
    fit = Fit(
        family=family,
        subject=subject,
        ranks=ranks,
        form=best.name,
        knob=knobs[0],
        shape=knobs[1:],
        parameters=_parameters(solution),
        tags=tuple(dict.fromkeys(one.case.tag for one in fitted)),
        ranges=_ranges([one.case.op for one in fitted]),
        left_out_errors=best.errors,
        held_out_errors=tuple(errors_of(best.name, knobs, solution, held_out)),
        half_width=half_width(scores) * (1 + offset_s / typical_s),
        alternatives={one.name: one.mean_error for one in tried},
        left_out=best.left_out,
        offset_s=offset_s,
        spread=spread([one.scatter for one in observed]),
    )
    return with_points(fit, observed)


def _one_key(observed: Sequence[Observed]) -> tuple[int, Family, str]:
    keys = sorted({_key(one) for one in observed})
    if len(keys) != 1:
        found = "; ".join(
            f"{family} of {subject}, {ranks} ranks" for ranks, family, subject in keys
        )
        raise CalibrationError(f"one fit covers one family, subject and number of ranks: {found}")
    return keys[0]


def _parameters(solution: Solution) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name, value, solution.stderr[name], solution.standing[name])
        for name, value in solution.values.items()
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


def _ranges(ops: Sequence[Op]) -> dict[str, tuple[float, float]]:
    each = [coordinates(op) for op in ops]
    return {
        name: (float(min(c[name] for c in each)), float(max(c[name] for c in each)))
        for name in each[0]
    }
