"""How did the copies of a pipeline fare, side by side?"""

import math
from collections.abc import Mapping
from typing import Any

from streamtwin.reports.percentiles import percentile
from streamtwin.reports.sheet import Sheet
from streamtwin.reports.words import milliseconds, quantity, share

HEAD = ("replica", "sessions", "fps, slowest", "fps, all", "latency p95, ms", "busiest, %")


def replicas_sheet(metrics: Mapping[str, Any]) -> Sheet:
    """A row a copy: its sessions, its slowest session, the latency, its busiest rank."""
    rows = tuple(map(_row, metrics["replicas"]))
    return Sheet("replicas, each in its own steady window", HEAD, rows)


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    latency = one["latency_s"]
    p95_s = None if latency is None else percentile(latency, "p95")
    return (
        str(one["replica"]),
        str(len(one["sessions"])),
        _rate(one["fps"]),
        _rate(one["fps_total"]),
        "-" if p95_s is None else milliseconds(p95_s),
        share(max(one["busy_fraction"])) if one["busy_fraction"] else "-",
    )


def _rate(value: float | None) -> str:
    return quantity(math.nan if value is None else value, "frames/s")
