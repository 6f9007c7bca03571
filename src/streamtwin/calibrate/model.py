"""What does a profile answer when the simulator asks how long an operation takes?"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import log
from statistics import fmean

from streamtwin.calibrate.fitted import Fit, Point
from streamtwin.calibrate.forms import FORMS, coordinates, subject_of
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import HostState, Prediction, Provenance
from streamtwin.core.ops import Op, family_of

MOSTLY = 0.5
"""Share of a prediction from which on what stands behind it counts as what it is."""

NOISE_TIMES = 60
"""Raw times that a noise sample has at least, where the profile holds as many."""


@dataclass(slots=True)
class ProfileLatency:
    """The latency model of one profile at one number of ranks; see `core.latency.LatencyModel`.

    Answers are kept: a simulation asks for the same few operations thousands of times.
    """

    provenance: Provenance
    ranks: int
    fits: Sequence[Fit]
    extrapolate: bool = False
    ranks_distance: float = 0.0
    """How far the number of ranks that is asked for lies from `ranks`; 0: that many were measured."""
    states: tuple[HostState, ...] = (HostState(),)
    """What is known of the host of each rank that was measured."""
    _predictions: dict[Op, Prediction] = field(init=False, default_factory=dict)
    _noise: dict[Op, Sequence[float]] = field(init=False, default_factory=dict)

    def predict(self, op: Op) -> Prediction:
        """Predict the service time of *op* with its 90 % interval.

        Raises:
            CalibrationError: *op* lies outside the calibrated range; names coordinate, value
                and range.
        """
        known = self._predictions.get(op)
        if known is None:
            known = self._predictions[op] = self._predict(op)
        return known

    def noise(self, op: Op) -> Sequence[float]:
        """Relative times seen when *op*, or the cases nearest to it in time, were repeated.

        Their mean is 1 exactly, so that a simulation with noise has the predicted mean. Published
        and derived profiles have seen no repetition: there is none.
        """
        if op not in self._noise:
            sample = self._sample(op)
            mean = fmean(sample) if sample else 1.0
            self._noise[op] = tuple(ratio / mean for ratio in sample)
        return self._noise[op]

    def _fit(self, op: Op) -> Fit:
        family, subject = family_of(op), subject_of(op)
        fits = [fit for fit in self.fits if fit.family == family]
        if not fits:
            raise CalibrationError(f"{self._who}: no {family} was measured with {self.ranks} ranks")
        for fit in fits:
            if fit.subject == subject:
                return fit
        known = ", ".join(fit.subject for fit in fits)
        raise CalibrationError(
            f"{self._who}: {family} of {subject!r} was not measured; {known} was"
        )

    def _predict(self, op: Op) -> Prediction:
        fit = self._fit(op)
        distance = self._distance(fit, op) + self.ranks_distance
        mean_s = fit.predict_s(op)
        low_s, high_s = fit.interval_s(op)
        if distance > 0:
            # The error has been seen nowhere out there. It is taken to grow with the distance, from
            # the widest interval inside, so that no farther operation has a narrower one.
            width = fit.widest * (1 + distance)
            low_s, high_s = mean_s * max(0.0, 1 - width), mean_s * (1 + width)
        least_s, assumed_s, most_s = fit.assumed_s(op)
        share = assumed_s / mean_s if mean_s > 0 else 0.0
        told, widened = 1 - share, 1 + distance
        low_s = mean_s - told * (mean_s - low_s) - widened * (assumed_s - least_s)
        high_s = mean_s + told * (high_s - mean_s) + widened * (most_s - assumed_s)
        said = self._says(fit, share)
        return Prediction(
            mean_s=mean_s,
            low_s=max(0.0, low_s),
            high_s=high_s,
            provenance=replace(said, extrapolated=distance > 0),
        )

    def _says(self, fit: Fit, assumed_share: float) -> Provenance:
        """Who says it: what rests on assumptions for the greater part is assumed."""
        said = fit.provenance or self.provenance
        if assumed_share < MOSTLY or said.kind == "derived":
            return said
        return replace(said, kind="assumed")

    def between(self, op: Op) -> float:
        """Relative standard deviation of the mean time of *op* from one run to the next.

        What was seen, pooled with what is taken for granted; 0 where the profile has a single run.
        """
        return self._fit(op).spread.another_run[0]

    def host(self, rank: int) -> HostState:
        """What is known of the host of *rank*; of more ranks than were measured some share one."""
        return self.states[rank % len(self.states)]

    def _distance(self, fit: Fit, op: Op) -> float:
        """How far *op* lies outside the calibrated range, in spans of its farthest coordinate."""
        farthest = 0.0
        for name, value in coordinates(op).items():
            low, high = fit.ranges[name]
            if low <= value <= high:
                continue
            if not self.extrapolate:
                raise CalibrationError(
                    f"{self._who}: {fit.family} with {name} = {value:g} lies outside the "
                    f"calibrated range {low:g}..{high:g} ({op}); set extrapolate=true or calibrate "
                    "for it"
                )
            span = (high - low) or high or 1.0
            farthest = max(farthest, (low - value) / span, (value - high) / span)
        return farthest

    def _sample(self, op: Op) -> Sequence[float]:
        fit, mean_s = self._fit(op), self.predict(op).mean_s
        exact = [point for point in fit.points if point.op == op]
        if exact and not FORMS[fit.form].interpolates:
            return _ratios(exact)
        # Short operations scatter relatively more than long ones, so the sample comes from the
        # configurations that take about as long.
        sizes = {point.op: fit.predict_s(point.op) for point in fit.points}
        sample: list[float] = []
        for near in sorted(sizes, key=lambda other: abs(log(sizes[other] / mean_s))):
            if len(sample) >= NOISE_TIMES:
                break
            sample += _ratios([point for point in fit.points if point.op == near])
        return sample

    @property
    def _who(self) -> str:
        return f"profile {self.provenance.source}"


def _ratios(points: Sequence[Point]) -> list[float]:
    """Times of one operation over their expected time, which is a mean over its tags."""
    typical_s = fmean(point.measured_s for point in points)
    return [ratio * point.measured_s / typical_s for point in points for ratio in point.ratios]
