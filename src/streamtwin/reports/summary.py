"""What are the figures of one run, a line each?"""

import math
from collections.abc import Mapping
from typing import Any

from streamtwin.reports.class_tables import entry_words
from streamtwin.reports.cost_words import cost_words
from streamtwin.reports.percentiles import percentile
from streamtwin.reports.tables import event_rows
from streamtwin.reports.words import quantity, unit_name

_PERCENTILES = ("p50", "p95", "p99", "max")


def summary(metrics: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Name, value and unit of every figure of *metrics*."""
    latencies = ((f"latency {p}", latency_text(metrics, p), "ms") for p in _PERCENTILES)
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
        *((*told, "") for told in (*entry_words(metrics.get("entry") or {}), *cost_words(metrics))),
        *((subject, words, "") for subject, words in event_rows(metrics)),
    )


def latency_text(metrics: Mapping[str, Any], name: str) -> str:
    """The percentile *name* of the latency in ms; - where there are too few chunks for it."""
    value_s = percentile(metrics["latency_s"], name)
    return "-" if math.isnan(value_s) else quantity(value_s, "s")


def _line(name: str, value: float, unit: str) -> tuple[str, str, str]:
    return name, quantity(value, unit), unit_name(unit)
