"""What does a fit say of one family of operations, and from which points does it come?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from operator import attrgetter
from statistics import fmean, median
from typing import Annotated

from pydantic import Field
from scipy.special import stdtrit

from streamtwin.calibrate.assumptions import Assumption
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.jackknife import COVERAGE, Coverage, bounds_s
from streamtwin.calibrate.least_squares import Standing
from streamtwin.calibrate.terms import Terms
from streamtwin.calibrate.variance import UNKNOWN, Spread
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import Provenance
from streamtwin.core.ops import Family, Op

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Seconds per unit of a term, with its standard error; None where `standing` says why not."""

    name: str
    value: NonNegative
    stderr: NonNegative | None
    standing: Standing | None = None
    assumed: Assumption | None = None
    """Why it has this value, where nothing that was measured or published tells."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The same form fitted without one operation, and what it said of that one.

    `error` is measured / predicted - 1 and `predicted_s` that prediction.
    """

    knobs: tuple[NonNegative, ...]
    values: dict[str, NonNegative]
    error: Finite
    predicted_s: NonNegative

    def score(self, offset_s: float) -> float:
        """The error in seconds over the predicted time plus *offset_s*."""
        return self.error * self.predicted_s / (self.predicted_s + offset_s)


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration: what was measured of it (its expected time), and what the fit says.

    `ratios` are its undisturbed times as shares of the expected one in their own run; `throttled`:
    heat or power slowed the card down in too many of them.
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

    `ranges` bound every coordinate. `knob` and `shape` are the form's knobs. `left_out_errors` and
    `held_out_errors` are measured / predicted - 1, `alternatives` the mean absolute left-out error
    by form that had enough configurations, and `half_width` the quantile of the left-out errors
    that covers 90 %, as a share of the prediction of an operation of median time.
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
    shape: tuple[NonNegative, ...] = ()
    """The form's knobs after the first."""
    left_out: tuple[LeftOut, ...] = ()
    """What the jackknife+ interval is made of; empty: `half_width` is all that is known."""
    offset_s: NonNegative = 0.0
    """Errors are taken to grow with the predicted time plus this."""
    spread: Spread = UNKNOWN
    """Scatter within a run and between runs."""
    points: Annotated[tuple[Point, ...], Field(exclude=True)] = ()

    @property
    def knobs(self) -> tuple[float, ...]:
        """All knobs, as the form takes them."""
        return (self.knob, *self.shape)

    def predict_s(self, op: Op, tag: str | None = None) -> float:
        """Predicted seconds of *op*, in the mean over all tags when none is named.

        Raises:
            CalibrationError: the form knows nothing of *op*.
        """
        values = {parameter.name: parameter.value for parameter in self.parameters}
        return self._mean_s(op, tag, self.knobs, values)

    def _mean_s(
        self, op: Op, tag: str | None, knobs: Sequence[float], values: dict[str, float]
    ) -> float:
        terms = FORMS[self.form].terms
        tags = self.tags if tag is None else (tag,)
        return fmean(_evaluate(terms(op, t, *knobs), values) for t in tags)

    def interval_s(
        self, op: Op, tag: str | None = None, *, another_run: bool = True
    ) -> tuple[float, float]:
        """The 90 % interval for the mean time of *op* in *another run*, or in the measured ones.

        The error of the form is the jackknife+'s. What runs differ by is added in quadrature as
        Student's t says: once for that run, and once for the mean of those measured.

        Raises:
            CalibrationError: the form knows nothing of *op*.
        """
        mean_s = self.predict_s(op, tag)
        if not mean_s > 0:
            return 0.0, 0.0
        low_s, high_s = self._form_bounds_s(op, tag, mean_s)
        runs = self.run_half_width if another_run else 0.0
        low, high = hypot(1 - low_s / mean_s, runs), hypot(high_s / mean_s - 1, runs)
        return mean_s * max(0.0, 1 - low), mean_s * (1 + high)

    def _form_bounds_s(self, op: Op, tag: str | None, mean_s: float) -> tuple[float, float]:
        if not self.left_out:
            return mean_s * (1 - self.half_width), mean_s * (1 + self.half_width)
        others = [self._mean_s(op, tag, one.knobs, one.values) for one in self.left_out]
        scores = [one.score(self.offset_s) for one in self.left_out]
        low_s, high_s = bounds_s(others, scores, self.offset_s)
        return min(low_s, mean_s), max(high_s, mean_s)

    @property
    def run_half_width(self) -> float:
        """Half-width of the 90 % interval of a run's factor; 0 where runs were not compared."""
        between, degrees = self.spread.another_run
        if not degrees:
            return 0.0
        student = float(stdtrit(degrees, (1 + COVERAGE) / 2))
        return student * between * sqrt(1 + 1 / (self.spread.between_degrees + 1))

    @property
    def widest(self) -> float:
        """The farthest end of any point's interval, as a share of its prediction."""
        widths = [self.half_width]
        for op in dict.fromkeys(point.op for point in self.points):
            mean_s, ends = self.predict_s(op), self.interval_s(op)
            widths += [abs(end / mean_s - 1) for end in ends if mean_s > 0]
        return max(widths)

    @property
    def coverage(self) -> Coverage:
        """How many held-out operations lay inside intervals made without them.

        They were measured in the same runs, so what runs differ by is left out of the interval.
        """
        held_out = [point for point in self.points if point.held_out]
        ops = list(dict.fromkeys(point.op for point in held_out))
        inside = 0
        for op in ops:
            low_s, high_s = self.interval_s(op, another_run=False)
            measured_s = fmean(point.measured_s for point in held_out if point.op == op)
            inside += low_s <= measured_s <= high_s
        return Coverage(inside, len(ops))

    def assumed_s(self, op: Op) -> tuple[float, float, float]:
        """Seconds of *op* that rest on assumptions: the least, those predicted, the most."""
        amounts = [FORMS[self.form].terms(op, tag, *self.knobs) for tag in self.tags]
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
