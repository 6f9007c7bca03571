"""What does a person read in the terminal? Tables of one run and of a comparison."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from streamtwin.core.bubbles import CAUSES
from streamtwin.reports.class_tables import entry_words
from streamtwin.reports.comparison import ComparisonRow, ValidationResult
from streamtwin.reports.cost_words import cost_words
from streamtwin.reports.origin import origins
from streamtwin.reports.percentiles import percentile
from streamtwin.reports.recovery_words import recovery_rows
from streamtwin.reports.scatter import sheets
from streamtwin.reports.session_sheets import session_sheets
from streamtwin.reports.sheet import as_table
from streamtwin.reports.words import (
    INTERVALS,
    TOO_SHORT,
    cause_name,
    metric_name,
    milliseconds,
    quantity,
    share,
    unit_name,
    verdict,
)

_Metrics = Mapping[str, Any]
_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


def metrics_tables(metrics: _Metrics) -> list[Table]:
    """Tables of one run: the whole, each session, the times, the ranks, and their bubbles."""
    sessions = map(as_table, session_sheets(metrics))
    own = [_whole(metrics), *sessions, _times(metrics), _ranks(metrics), _bubbles(metrics)]
    return [*own, *map(as_table, sheets(metrics))]


def comparison_table(result: ValidationResult) -> Table:
    """Predicted beside measured for every deployment, with error, spread and bound."""
    table = slim_table(f"{result.name}: predicted and measured", ("",))
    table.columns[0].no_wrap = False  # rather a long label in two lines than numbers cut off
    for heading in ("predicted", "measured", "error %", "spread %", "bound %"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for deployment in result.deployments:
        table.add_row(f"[bold]{escape(deployment.label)}[/bold]")
        for row in deployment.rows:
            metric, unit, *cells = comparison_cells(row)
            style = "bold red" if row.ok is False else ""
            table.add_row(f"  {metric}, {unit}", *cells, style=style)
        table.add_section()
    table.caption = escape("\n".join([result.remark, *origins(result.deployments)]))
    table.caption_justify = "left"
    return table


def comparison_cells(row: ComparisonRow) -> list[str]:
    """Word one row: metric, unit, predicted, measured, error, spread, bound, verdict."""
    return [
        metric_name(row.metric),
        unit_name(row.unit),
        quantity(row.predicted, row.unit),
        quantity(row.measured, row.unit),
        share(row.error, sign=True),
        share(row.spread) if row.repeats > 1 else "one run",
        "" if row.bound is None else share(row.bound),
        verdict(row.ok, row.reason),
    ]


def slim_table(title: str, columns: Sequence[str]) -> Table:
    """A table without lines that fits a terminal of 80 columns, begun with *columns* of words."""
    table = Table(
        title=escape(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in columns:
        table.add_column(heading, no_wrap=True)
    return table


def _whole(metrics: _Metrics) -> Table:
    title = escape(f"{metrics['scenario']} ({metrics['source']})")
    table = Table(title=title, title_justify="left", show_header=False)
    viewer, chunks = metrics["viewer"], metrics["chunks"]
    sure = metrics.get("intervals") or {}
    of_slowest = " of the slowest session" if len(metrics["sessions"]) > 1 else ""
    table.add_row(
        f"fps{of_slowest}, frames/s", _number(metrics["fps"]) + _between(sure.get("fps"), _number)
    )
    table.add_row("period, ms", _ms(metrics["period_s"]) + _between(sure.get("period_s"), _ms))
    first_s = _ms(metrics["ttff_s"]) + _between(sure.get("ttff_s"), _ms)
    table.add_row("time to first frame, ms", first_s)
    misses = share(metrics["deadline_miss_rate"])
    table.add_row("deadline misses, %", misses + _between(sure.get("deadline_miss_rate"), share))
    for name in ("p50", "p95"):
        if f"latency_s {name}" in sure:
            told = _ms(percentile(metrics["latency_s"], name), missing="-")
            table.add_row(f"latency {name}, ms", told + _between(sure[f"latency_s {name}"], _ms))
    if sure:
        table.caption, table.caption_justify = INTERVALS, "left"
    table.add_row("viewer's stalls", f"{viewer['stalls']} in {_ms(viewer['stall_s'])} ms")
    for outcome, count in chunks.items():
        table.add_row(f"chunks {outcome.replace('_', ' ')}", str(count))
    for subject, words in (*entry_words(metrics.get("entry") or {}), *cost_words(metrics)):
        table.add_row(subject, words)
    for subject, words in event_rows(metrics):
        table.add_row(subject, words)
    for subject, provenance in metrics["provenance"].items():
        table.add_row(escape(subject), escape(provenance))
    if not metrics["steady_reached"]:
        both = [INTERVALS] * bool(sure) + [TOO_SHORT]
        table.caption, table.caption_justify = "\n".join(both), "left"
    return table


def event_rows(metrics: _Metrics) -> list[tuple[str, str]]:
    """What happened in a run beside its chunks, a subject and its words: blocks moved, a ring stood."""
    moves = metrics.get("moves", [])
    moved = [(f"blocks moved behind item {move['item']}", move_words(move)) for move in moves]
    return moved + recovery_rows(metrics)


def move_words(move: Mapping[str, Any]) -> str:
    """Word one change of the partition: when, to what, how much went over the links."""
    blocks = "/".join(str(count) for count in move["blocks"])
    return f"{blocks} at {move['time_s']:.2f} s, {move['size_bytes'] / 2**20:,.1f} MiB"


def _times(metrics: _Metrics) -> Table:
    table = Table(title=f"times {_where(metrics)}, ms", title_justify="left")
    table.add_column("")
    for heading in (*_PERCENTILES, "count"):
        table.add_column(heading, justify="right")
    for key in ("latency_s", "glass_to_glass_s", "jitter_s"):
        name = key.removesuffix("_s").replace("_", " ")
        sample = metrics[key]
        cells = (_ms(percentile(sample, p), missing="-") for p in _PERCENTILES)
        table.add_row(name, *cells, str(sample["count"]))
    return table


def _where(metrics: _Metrics) -> str:
    return "in the steady window" if metrics["steady_reached"] else "of the whole run"


def _ranks(metrics: _Metrics) -> Table:
    table = Table(title=f"ranks; busy {_where(metrics)}", title_justify="left")
    ranks = metrics["ranks"]
    table.add_column("rank", justify="right")
    table.add_column("blocks")
    table.add_column("memory, MiB", justify="right")
    bounded = any(rank.get("capacity_bytes") for rank in ranks)
    for heading in ("of MiB", "sessions fit") if bounded else ():
        table.add_column(heading, justify="right")
    table.add_column("busy, %", justify="right")
    table.add_column("idle, % of span", justify="right")
    for rank in ranks:
        first, end = rank["blocks"]
        table.add_row(
            str(rank["rank"]),
            f"{first} to {end - 1}" if end > first else "none",
            f"{sum(rank['memory_bytes'].values()) / 2**20:,.0f}",
            *(_room(rank) if bounded else ()),
            share(rank["busy_fraction"]),
            share(rank["idle_s"] / rank["span_s"]) if rank["span_s"] else "n/a",
        )
    return table


def _room(rank: Mapping[str, Any]) -> tuple[str, str]:
    """Word what memory a rank has, and how many sessions it holds."""
    capacity, most = rank.get("capacity_bytes"), rank.get("most_sessions")
    has = "n/a" if capacity is None else f"{capacity / 2**20:,.0f}"
    return has, "any" if most is None else str(max(0, most))


def _bubbles(metrics: _Metrics) -> Table:
    """Idle time of the whole run, a row per cause that occurs and a column per rank."""
    ranks = metrics["ranks"]
    table = Table(title="idle time by cause, s", title_justify="left")
    table.add_column("cause")
    for rank in ranks:
        table.add_column(f"rank {rank['rank']}", justify="right")
    for cause in CAUSES:
        if any(rank["bubbles"].get(cause) for rank in ranks):
            seconds = (f"{rank['bubbles'].get(cause, 0.0):.3f}" for rank in ranks)
            table.add_row(cause_name(cause), *seconds)
    return table


def _between(interval: Sequence[float] | None, word: Callable[[float], str]) -> str:
    """Word what the calibration leaves open about a prediction."""
    return f"  ({word(interval[0])} to {word(interval[1])})" if interval else ""


def _number(value: float | None) -> str:
    return quantity(math.nan if value is None else value, "frames/s")


def _ms(seconds: float | None, missing: str = "n/a") -> str:
    return missing if seconds is None or not math.isfinite(seconds) else milliseconds(seconds)
