"""What did each session, each class of sessions and each copy of the pipeline get?"""

from collections.abc import Mapping
from math import isnan
from typing import Any

from streamtwin.reports.class_tables import classes_sheet
from streamtwin.reports.percentiles import percentile
from streamtwin.reports.replica_table import replicas_sheet
from streamtwin.reports.sheet import Sheet
from streamtwin.reports.words import milliseconds, quantity, share

HEAD = ("session", "fps", "first frame, ms", "latency p95, ms", "misses, %", "stalls")


def session_sheets(metrics: Mapping[str, Any]) -> list[Sheet]:
    """Those tables of *metrics* that there is more than one session, class or copy for."""
    made = [sessions_sheet(metrics)] if len(metrics["sessions"]) > 1 else []
    made += [classes_sheet(metrics)] if metrics.get("classes") else []
    made += [replicas_sheet(metrics)] if metrics.get("replicas") else []
    return made


def sessions_sheet(metrics: Mapping[str, Any]) -> Sheet:
    """What each session got, the promises being kept to all of them or to none."""
    total = ("all", quantity(metrics["fps_total"], "frames/s"), *[""] * (len(HEAD) - 2))
    rows = (*map(_row, metrics["sessions"]), total)
    return Sheet("sessions, each in its own steady window", HEAD, rows)


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    p95_s = percentile(one["latency_s"], "p95")
    return (
        str(one["session"]),
        quantity(one["fps"], "frames/s"),
        milliseconds(one["ttff_s"]),
        "-" if isnan(p95_s) else milliseconds(p95_s),
        share(one["deadline_miss_rate"]),
        str(one["viewer"]["stalls"]),
    )
