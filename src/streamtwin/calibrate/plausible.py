"""Can the parameters in a profile's file be those of service times at all?

A fit that was edited by hand may be well formed and still give figures that no computation
survives; it is better refused where it is read than met as an infinity in a result.
"""

from pathlib import Path

from streamtwin.calibrate.fitted import Fit
from streamtwin.calibrate.forms import FORMS
from streamtwin.core.errors import CalibrationError

MAX_SERVICE_S = 1e6
"""More than eleven days: no service of a stream takes so long."""

MAX_HALF_WIDTH = 1e3
"""As a share of a prediction; an interval that wide would say nothing."""


def check_form(fit: Fit, path: Path) -> None:
    """Refuse *fit*, read from *path*, if its form is unknown or of another family.

    Raises:
        CalibrationError: names file, form and family.
    """
    if fit.form not in FORMS or fit.family not in FORMS[fit.form].families:
        raise CalibrationError(f"{path}: form = {fit.form!r} of {fit.family}: unknown")


def check_plausible(fit: Fit, path: Path) -> None:
    """Refuse *fit*, read from *path*, if it says more of a measured operation than can be.

    Raises:
        CalibrationError: names file, fit, parameter and value.
    """
    name = f"{path}: {fit.family} of {fit.subject} at {fit.ranks} ranks"
    if fit.half_width > MAX_HALF_WIDTH:
        raise CalibrationError(
            f"{name}: half_width = {fit.half_width!r}: give at most {MAX_HALF_WIDTH:g}"
        )
    _check_knobs(fit, name)
    values = {parameter.name: parameter.value for parameter in fit.parameters}
    for term, value in values.items():
        if not value <= MAX_SERVICE_S:
            raise CalibrationError(
                f"{name}: parameter {term!r} = {value!r}: give at most {MAX_SERVICE_S:g} s a unit"
            )
    for point in fit.points:
        for term, amount in FORMS[fit.form].terms(point.op, point.tag, *fit.knobs).items():
            seconds = values[term] * amount
            if not seconds <= MAX_SERVICE_S:
                raise CalibrationError(
                    f"{name}: parameter {term!r} = {values[term]!r} (knobs = {fit.knobs!r}): makes "
                    f"{seconds:.3g} s of {point.op}; no service takes over {MAX_SERVICE_S:g} s"
                )


def _check_knobs(fit: Fit, name: str) -> None:
    """Every model of the fit, those with an operation left out too, has the form's knobs."""
    knobs = max(1, len(FORMS[fit.form].knob_names))
    names = {parameter.name for parameter in fit.parameters}
    for given in (fit.knobs, *(one.knobs for one in fit.left_out)):
        if len(given) != knobs:
            raise CalibrationError(f"{name}: form {fit.form} has {knobs} knobs, not {len(given)}")
    for one in fit.left_out:
        if set(one.values) != names:
            differing = sorted(set(one.values) ^ names)[0]
            raise CalibrationError(f"{name}: left_out: parameter {differing!r}: not in all models")
