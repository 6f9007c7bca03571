"""How good is the twin over many deployments, by load, and how sure is that?

A deployment's load is the busiest rank's share of time in the steady window, as predicted: errors of
queues show where it is high, errors of services where it is low.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any, Literal

from streamtwin.reports.comparison import relative_error, relative_spread
from streamtwin.reports.percentiles import percentile

Band = Literal["below 50 %", "50 to 85 %", "above 85 %"]
BANDS: tuple[Band, ...] = ("below 50 %", "50 to 85 %", "above 85 %")

Kind = Literal["rate", "p95", "misses"]
BOUNDS: Mapping[Kind, float] = MappingProxyType({"rate": 0.03, "p95": 0.08, "misses": 0.02})
"""What the median error may be, in every band of load: of fps and period, of the p95 latency, and of
the share of chunks that come late, where it is a difference."""

WORDS: Mapping[Kind, str] = MappingProxyType(
    {"rate": "fps and period", "p95": "p95 latency", "misses": "misses, points"}
)

COVERAGE = (0.85, 0.95)
"""Share of measured values that 90 % intervals should hold, least and most."""

_Metrics = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one deployment: predicted, the median of the repeats, and how they scatter.

    `error` and `spread` are relative, of misses differences. `inside` counts the repeats that lie
    in the prediction's 90 % interval, of `tested`; none where the prediction has no interval.
    """

    label: str
    load: float
    kind: Kind
    metric: str
    predicted: float
    measured: float
    error: float
    spread: float
    inside: int = 0
    tested: int = 0

    @property
    def band(self) -> Band:
        """The band that its load lies in."""
        return BANDS[(self.load >= 0.5) + (self.load > 0.85)]


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of one kind, of a band or of all: the median error beside the repeats' own spread."""

    band: Band | None
    kind: Kind
    count: int
    median_error: float
    worst_error: float
    worst_label: str
    median_spread: float

    @property
    def ok(self) -> bool:
        """Whether the median error is within its bound."""
        return self.median_error <= BOUNDS[self.kind]


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """All scores of a suite."""

    scores: tuple[Score, ...]

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """Each kind over all deployments, then by band; bands without a deployment are left out."""
        groups = [(kind, band) for kind in BOUNDS for band in (None, *BANDS)]
        return tuple(found for group in groups if (found := self._summary(*group)) is not None)

    @property
    def coverage(self) -> tuple[int, int]:
        """Measured values inside the 90 % intervals, and all that were tested."""
        return sum(one.inside for one in self.scores), sum(one.tested for one in self.scores)

    @property
    def ok(self) -> bool:
        """Whether every kind is within its bound in every band, and intervals are as wide as right."""
        return bool(self.scores) and all(one.ok for one in self.summaries) and self.covers

    @property
    def covers(self) -> bool:
        """Whether intervals hold about as much as they say; where nothing was tested nobody knows."""
        inside, tested = self.coverage
        return tested > 0 and COVERAGE[0] <= inside / tested <= COVERAGE[1]

    @property
    def empty(self) -> list[Band]:
        """Bands of load that no deployment lies in, so that nothing is said of them."""
        return [band for band in BANDS if band not in {one.band for one in self.scores}]

    def _summary(self, kind: Kind, band: Band | None) -> Summary | None:
        own = [one for one in self.scores if one.kind == kind and band in (None, one.band)]
        if not own:
            return None
        worst = max(own, key=lambda one: abs(one.error))
        return Summary(
            band,
            kind,
            len({one.label for one in own}),
            median(abs(one.error) for one in own),
            abs(worst.error),
            worst.label,
            median(one.spread for one in own),
        )


def scores_of(label: str, predicted: _Metrics, measured: Sequence[_Metrics]) -> list[Score]:
    """The scores of one deployment; what one of the runs does not tell is left out."""
    load = max(rank["busy_fraction"] for rank in predicted["ranks"])
    asked: list[tuple[Kind, str]] = [
        ("rate", "fps"), ("rate", "period_s"), ("p95", "latency_s p95"),
        ("misses", "deadline_miss_rate"),
    ]  # fmt: skip
    scores = []
    for kind, metric in asked:
        expected, found = _value(predicted, metric), [_value(one, metric) for one in measured]
        known = [value for value in found if value is not None]
        if expected is None or len(known) < len(found) or not known:
            continue
        error, spread = _compared(kind, expected, known)
        inside, tested = _coverage(metric, predicted["intervals"], known)
        middle = median(known)
        scores.append(
            Score(label, load, kind, metric, expected, middle, error, spread, inside, tested)
        )
    return scores


def _coverage(
    metric: str, intervals: Mapping[str, Sequence[float]], measured: Sequence[float]
) -> tuple[int, int]:
    """How many of *measured* lie in the metric's interval, and how many were tested.

    The frame rate says the same as the period, and an interval without width is none.
    """
    low, high = intervals.get(metric, (0.0, 0.0))
    if metric == "fps" or low >= high:
        return 0, 0
    return sum(low <= value <= high for value in measured), len(measured)


def _compared(kind: Kind, predicted: float, measured: Sequence[float]) -> tuple[float, float]:
    """Error and spread, of shares as differences."""
    if kind == "misses":
        return predicted - median(measured), max(measured) - min(measured)
    return relative_error(predicted, median(measured)), relative_spread(measured)


def _value(metrics: _Metrics, metric: str) -> float | None:
    latency = metric == "latency_s p95"
    value = percentile(metrics["latency_s"], "p95") if latency else metrics.get(metric)
    return None if value is None or math.isnan(value) else float(value)
