"""What does one page tell about a run or a validation, to somebody who opens it years later?

One file without outside parts: styles and figures are inside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from streamtwin.core.errors import RunError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.reports.comparison import ComparisonRow, DeploymentComparison, ValidationResult
from streamtwin.reports.figures import (
    FitPoint,
    bubbles_svg,
    fit_svg,
    latency_svg,
    timelines_svg,
)
from streamtwin.reports.origin import came_from, origins, statements
from streamtwin.reports.percentiles import percentile
from streamtwin.reports.scatter import Sheet, of_several_runs, page_sheets
from streamtwin.reports.svg_inline import inline_svg
from streamtwin.reports.tables import comparison_cells, event_rows
from streamtwin.reports.templating import fill
from streamtwin.reports.words import (
    CAUSES,
    METRICS,
    NO_STEADY_WINDOW,
    TOO_SHORT,
    cause_name,
    metric_name,
    quantity,
    share,
    unit_name,
)

_PERCENTILES = ("p50", "p95", "p99", "max")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the page with what it shows."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """One deployment, or the one run, on the page."""

    title: str
    notes: tuple[str, ...]
    provenance: tuple[tuple[str, str, str], ...]
    figures: tuple[Figure, ...]
    metrics: tuple[tuple[str, str, str], ...] = ()
    sheets: tuple[Sheet, ...] = ()


def render_validation(
    result: ValidationResult,
    *,
    scenario_yaml: str = "",
    fit_points: Sequence[FitPoint] = (),
) -> str:
    """Make the page of a validation: verdict, comparison, figures, fit, and where all comes from."""
    return _render(
        title=f"{result.name}: predicted and measured",
        question=result.question,
        verdict=validation_verdict(result),
        ok=result.ok if result.judged else None,
        comparison=[(_heading(d), [_cells(row) for row in d.rows]) for d in result.deployments],
        origins=origins(result.deployments),
        sections=[_deployment(deployment) for deployment in result.deployments],
        fit=_fit(fit_points),
        environment=result.environment,
        scenario_yaml=scenario_yaml,
    )


def render_run(
    records: Records,
    *,
    scenario_yaml: str = "",
    environment: Mapping[str, str] | None = None,
    fit_points: Sequence[FitPoint] = (),
    stated: Mapping[str, Any] | None = None,
) -> str:
    """Make the page of one run. A run too short for a steady period gets a page that says so.

    *stated* are the metrics as they were given out, with what further simulations have told.
    """
    info = records.info
    name = str(info.scenario.get("name", "unnamed"))
    metrics, verdict = _metrics_or_reason(records)
    if metrics is not None:
        metrics |= of_several_runs(stated or {})
    runs: dict[str, Records] = {info.source: records}
    return _render(
        title=f"{name}: {info.source} run",
        question=str(info.scenario.get("question", "")),
        verdict=verdict,
        ok=None,
        comparison=[],
        origins=[came_from(records)],
        sections=[
            Section(
                f"{len(info.ranks)} {_plural('rank', len(info.ranks))}",
                (),
                tuple((info.source, *entry) for entry in statements(records)),
                tuple(_figures(runs)) if metrics else (),
                _summary(metrics) if metrics else (),
                tuple(page_sheets(metrics)) if metrics else (),
            )
        ],
        fit=_fit(fit_points),
        environment=environment or {},
        scenario_yaml=scenario_yaml,
    )


def validation_verdict(result: ValidationResult) -> str:
    """Say in one sentence whether the predictions hold, and how far the worst one is off."""
    judged = [(row, d) for d in result.deployments for row in d.rows if row.ok is not None]
    if not judged:
        return result.remark if result.deployments else "Nothing was compared."
    count, held = len(result.deployments), sum(d.ok for d in result.deployments)
    row, deployment = max(judged, key=lambda pair: _excess(pair[0]))
    error = share(row.error, sign=True)
    return (
        f"Predicted frame rate and period are within their bounds on {held} of {count} "
        f"{_plural('deployment', count)}{_unjudged(result)}. Largest error for its bound: {metric_name(row.metric)} "
        f"on {deployment.label}, {error} % (bound {share(row.bound or math.nan)} %). "
        f"{result.remark}"
    )


def _unjudged(result: ValidationResult) -> str:
    count = sum(not deployment.judged for deployment in result.deployments)
    return f", {count} not judged ({NO_STEADY_WINDOW})" if count else ""


def _excess(row: ComparisonRow) -> float:
    over = abs(row.error) / row.bound if row.bound else math.inf
    return math.inf if math.isnan(over) else over


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _render(**content: object) -> str:
    causes = {cause_name(cause): meaning for cause, meaning in CAUSES.items()}
    return fill("report.html.j2", metric_words=METRICS, cause_words=causes, **content)


def _heading(deployment: DeploymentComparison) -> str:
    repeats = max((row.repeats for row in deployment.rows), default=0)
    return f"{deployment.label} ({repeats} measured {_plural('run', repeats)})"


def _cells(row: ComparisonRow) -> dict[str, Any]:
    return {"cells": comparison_cells(row), "ok": row.ok}


def _metrics_or_reason(records: Records) -> tuple[dict[str, Any] | None, str]:
    try:
        metrics = compute_metrics(records)
    except RunError as error:
        return None, f"No figures: {error}."
    text = (
        f"{records.info.source.capitalize()}: {metrics['fps']:.2f} frames/s, first frame after "
        f"{quantity(metrics['ttff_s'], 's')} ms, latency of {metrics['latency_s']['count']} chunks "
        f"p50 {_latency(metrics, 'p50')} ms and p95 {_latency(metrics, 'p95')} ms."
    )
    return metrics, text if metrics["steady_reached"] else f"{text} {TOO_SHORT}"


def _latency(metrics: Mapping[str, Any], name: str) -> str:
    value_s = percentile(metrics["latency_s"], name)
    return "-" if math.isnan(value_s) else quantity(value_s, "s")


def _summary(metrics: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    latencies = ((f"latency {p}", _latency(metrics, p), "ms") for p in _PERCENTILES)
    jitter_s = percentile(metrics["jitter_s"], "p95")
    return (
        _line("fps", metrics["fps"], "frames/s"),
        _line("fps, mean of instantaneous", metrics["fps_mean_instantaneous"], "frames/s"),
        _line("period", metrics["period_s"], "s"),
        _line("TTFF", metrics["ttff_s"], "s"),
        *latencies,
        ("latency, chunks counted", str(metrics["latency_s"]["count"]), ""),
        ("jitter p95", "-" if math.isnan(jitter_s) else quantity(jitter_s, "s"), "ms"),
        _line("deadline miss rate", metrics["deadline_miss_rate"], "1"),
        *(_line(f"busy rank {r['rank']}", r["busy_fraction"], "1") for r in metrics["ranks"]),
        *((subject, words, "") for subject, words in event_rows(metrics)),
    )


def _line(name: str, value: float, unit: str) -> tuple[str, str, str]:
    return name, quantity(value, unit), unit_name(unit)


def _deployment(deployment: DeploymentComparison) -> Section:
    runs = {"measured": deployment.measured, "simulated": deployment.predicted}
    stated = tuple(
        (label, *entry) for label, records in runs.items() for entry in statements(records)
    )
    return Section(deployment.label, deployment.overrides, stated, tuple(_figures(runs)))


def _figures(runs: Mapping[str, Records]) -> list[Figure]:
    metrics = {label: compute_metrics(records) for label, records in runs.items()}
    return [
        _figure(
            timelines_svg(runs),
            "What each rank does in the steady state. Full height: services, with the number of "
            "the chunk; half height, hatched: idle time by cause; thin bar: a hop under way.",
        ),
        _figure(timelines_svg(runs, "start"), "The same at the start of the stream."),
        _figure(
            bubbles_svg(metrics),
            "Idle time of each rank by cause over the whole run; "
            "the figure at the end of a bar is their sum.",
        ),
        _figure(latency_svg(runs), "Latency of every chunk over the stream."),
    ]


def _fit(points: Sequence[FitPoint]) -> Figure | None:
    if not points:
        return None
    caption = (
        "Left: predicted over measured time of every calibrated operation, with the model's "
        "90 % interval. Right: points measured, lines predicted. "
        "Held-out points took no part in the fit; unstable ones scattered too much to judge."
    )
    return _figure(fit_svg(points), caption)


def _figure(svg: str, caption: str) -> Figure:
    return Figure(inline_svg(svg, caption), caption)
