"""What does a fit say of one family of operations, and from which points does it come?"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean, median
from typing import Annotated

from pydantic import Field

from streamtwin.calibrate.assumptions import Assumption
from streamtwin.calibrate.forms import FORMS, Family, Terms
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import Provenance
from streamtwin.core.ops import Op

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Seconds per unit of a term, with its standard error; None where it rests at its bound, 0."""

    name: str
    value: NonNegative
    stderr: NonNegative | None
    assumed: Assumption | None = None
    """Why it has this value, where nothing that was measured or published tells."""


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration: what was measured of it (its expected time), and what the fit says.

    `ratios` are its undisturbed times as shares of the expected one; `throttled`: heat or power
    slowed the card down in too many of them.
    """

    op: Op
    ranks: int
    tag: str
    measured_s: float
    predicted_s: float
    held_out: bool
    stable: bool
    ratios: tuple[float, ...]
    throttled: bool = False

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
    provenance: Provenance | None = None
    """Who says so, where it is not who says the rest of the profile."""
    points: Annotated[tuple[Point, ...], Field(exclude=True)] = ()

    def predict_s(self, op: Op, tag: str | None = None) -> float:
        """Predicted seconds of *op*, in the mean over all tags when none is named.

        Raises:
            CalibrationError: the form knows nothing of *op*.
        """
        tags = self.tags if tag is None else (tag,)
        values = {parameter.name: parameter.value for parameter in self.parameters}
        return fmean(_evaluate(FORMS[self.form].terms(op, t, self.knob), values) for t in tags)

    def assumed_s(self, op: Op) -> tuple[float, float, float]:
        """Seconds of *op* that rest on assumptions: the least, those predicted, the most."""
        amounts = [FORMS[self.form].terms(op, tag, self.knob) for tag in self.tags]
        assumed = [(p.name, p.assumed) for p in self.parameters if p.assumed is not None]
        sums = [
            fmean(sum(each.get(name, 0.0) * pick(a) for name, a in assumed) for each in amounts)
            for pick in (attrgetter("low"), attrgetter("value"), attrgetter("high"))
        ]
        return sums[0], sums[1], sums[2]

    @property
    def held_out_error(self) -> float | None:
        """Median absolute relative error on held-out configurations; None without any."""
        return _median_size(self.held_out_errors)

    @property
    def left_out_error(self) -> float | None:
        """Median absolute relative error on left-out configurations; None without any."""
        return _median_size(self.left_out_errors)


def _median_size(errors: Sequence[float]) -> float | None:
    return median(map(abs, errors)) if errors else None


def _evaluate(terms: Terms, values: dict[str, float]) -> float:
    unknown = [name for name in terms if name not in values]
    if unknown:
        raise CalibrationError(f"nothing was measured at {unknown[0]}; known: {', '.join(values)}")
    return sum(values[name] * value for name, value in terms.items())
