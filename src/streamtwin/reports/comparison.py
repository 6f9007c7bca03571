"""How far is the prediction from the measurement, and is that within the bound?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from streamtwin.core.errors import UserError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.reports.percentiles import percentile
from streamtwin.reports.words import NO_STEADY_WINDOW

JUDGED = ("fps", "period_s")
"""Metrics that have a bound."""
MIN_BOUND = 0.10
"""Relative error that a prediction may always have."""
NOISY = 0.15
"""Spread of the repeats from which on a comparison says little about the prediction."""
SPREADS = 2.0
"""... and how many spreads of the repeats, where they scatter more than that."""

_Metrics = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One metric, predicted and measured, in SI units.

    `measured` is the median of the repeats and `spread` their range over it; `error` is signed
    and relative to `measured`. `bound` is None where the metric is shown but not judged; `ok`
    is then None too, and `reason` says why if it is judged otherwise. What cannot be computed is
    NaN, and a judged NaN is not ok.
    """

    metric: str
    unit: str
    predicted: float
    measured: float
    error: float
    spread: float
    repeats: int
    bound: float | None
    ok: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentComparison:
    """One deployment: the rows, the predicted run, and the measured run of median fps."""

    label: str
    overrides: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    predicted: Records
    measured: Records

    @property
    def judged(self) -> bool:
        """Whether any metric has a bound."""
        return any(row.ok is not None for row in self.rows)

    @property
    def ok(self) -> bool:
        """Whether there are judged metrics and all are within their bounds."""
        return self.judged and all(row.ok for row in self.rows if row.ok is not None)


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A scenario predicted and measured on several deployments."""

    name: str
    deployments: tuple[DeploymentComparison, ...]
    question: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there are deployments and all are within their bounds."""
        return bool(self.deployments) and all(d.ok for d in self.deployments)

    @property
    def judged(self) -> list[ComparisonRow]:
        """The rows that have a bound."""
        return [row for one in self.deployments for row in one.rows if row.bound is not None]

    @property
    def remark(self) -> str:
        """How far off the judged predictions are, and whether the real runs agree at all."""
        errors = [abs(row.error) for row in self.judged if not math.isnan(row.error)]
        if not errors:
            short = any(row.reason == NO_STEADY_WINDOW for d in self.deployments for row in d.rows)
            return f"Nothing could be judged{f': {NO_STEADY_WINDOW}' if short else ''}."
        text = (
            f"fps and period: median error {100 * median(errors):.1f} %, "
            f"worst {100 * max(errors):.1f} %."
        )
        spread = max(row.spread for row in self.judged)
        if spread > NOISY:
            text += (
                f" The real runs differ by up to {100 * spread:.0f} % among themselves: this host "
                "was busy, and bounds that wide say little. Repeat on a quiet host."
            )
        return text


def compare(predicted: _Metrics, measured: Sequence[_Metrics]) -> list[ComparisonRow]:
    """Compare the metrics of one predicted run with those of repeated measured runs.

    Nothing is judged where one of the runs has no steady window: its figures then are of the
    whole run, the filling of the pipeline included, and a bound would say little.

    Raises:
        UserError: there is no measured run.
    """
    if not measured:
        raise UserError("no measured run to compare the prediction with")
    wanted = _values(predicted)
    repeats = [_values(metrics) for metrics in measured]
    steady = all(metrics["steady_reached"] for metrics in (predicted, *measured))
    return [
        _row(key, predicted_value, [values.get(key, math.nan) for values in repeats], steady)
        for key, predicted_value in wanted.items()
    ]


def compare_runs(
    label: str, overrides: Sequence[str], predicted: Records, measured: Sequence[Records]
) -> DeploymentComparison:
    """Compare the records of one predicted run with those of repeated measured runs.

    Raises:
        UserError: there is no measured run.
        RunError: a run is too short to have metrics.
    """
    runs = (predicted, *measured)
    return compare_told(label, overrides, runs, [compute_metrics(records) for records in runs])


def compare_told(
    label: str, overrides: Sequence[str], runs: Sequence[Records], told: Sequence[_Metrics]
) -> DeploymentComparison:
    """Compare *runs*, the first of which is the prediction, by what is *told* of each.

    Raises:
        UserError: there is no measured run.
    """
    predicted, *measured = runs
    first, *metrics = told
    rows = compare(first, metrics)
    middle = sorted(range(len(metrics)), key=lambda i: (metrics[i]["fps"], i))[len(metrics) // 2]
    return DeploymentComparison(label, tuple(overrides), tuple(rows), predicted, measured[middle])


def relative_error(predicted: float, measured: float) -> float:
    """Signed error relative to *measured*; NaN where that has no meaning."""
    if predicted == measured:
        return 0.0
    return (predicted - measured) / measured if measured else math.nan


def relative_spread(values: Sequence[float]) -> float:
    """Range of *values* over their median: 0 for one value."""
    return relative_error(max(values) - min(values) + median(values), median(values))


def _values(metrics: _Metrics) -> dict[tuple[str, str], float]:
    latency_s = metrics["latency_s"]
    named = {
        ("fps", "frames/s"): metrics.get("fps"),
        ("period_s", "s"): metrics.get("period_s"),
        ("ttff_s", "s"): metrics.get("ttff_s"),
        ("latency_s p50", "s"): percentile(latency_s, "p50"),
        ("latency_s p95", "s"): percentile(latency_s, "p95"),
    }
    for rank in metrics.get("ranks", ()):
        named[f"busy_fraction rank {rank['rank']}", "1"] = rank.get("busy_fraction")
    return {key: math.nan if value is None else float(value) for key, value in named.items()}


def _row(
    key: tuple[str, str], predicted: float, repeats: Sequence[float], steady: bool
) -> ComparisonRow:
    metric, unit = key
    known = not any(math.isnan(value) for value in repeats)
    measured = median(repeats) if known else math.nan
    spread = relative_spread(repeats) if known else math.nan
    error = relative_error(predicted, measured)
    bound, ok, reason = _judgement(error, spread, steady) if metric in JUDGED else (None, None, "")
    count = len(repeats)
    return ComparisonRow(metric, unit, predicted, measured, error, spread, count, bound, ok, reason)


def _judgement(error: float, spread: float, steady: bool) -> tuple[float | None, bool | None, str]:
    if not steady:
        return None, None, NO_STEADY_WINDOW
    bound = max(MIN_BOUND, SPREADS * spread)
    # a NaN compares false, so what is not known is not ok
    return bound, abs(error) <= bound, ""
