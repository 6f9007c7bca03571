"""How did the copies of a pipeline fare, side by side?"""

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from streamtwin.reports.percentiles import percentile
from streamtwin.reports.words import milliseconds, quantity, share


def replicas_table(metrics: Mapping[str, Any]) -> Table:
    """A row a copy: its sessions, its slowest session, the latency, its busiest rank."""
    table = Table(title="replicas, each in its own steady window", title_justify="left")
    headings = ("replica", "sessions", "fps, slowest", "fps, all", "latency p95, ms", "busiest, %")
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in metrics["replicas"]:
        latency = one["latency_s"]
        p95_s = None if latency is None else percentile(latency, "p95")
        table.add_row(
            str(one["replica"]),
            str(len(one["sessions"])),
            _rate(one["fps"]),
            _rate(one["fps_total"]),
            "-" if p95_s is None else milliseconds(p95_s),
            share(max(one["busy_fraction"])) if one["busy_fraction"] else "-",
        )
    return table


def _rate(value: float | None) -> str:
    return quantity(math.nan if value is None else value, "frames/s")
