"""What did each class of sessions get, and who was not let in?"""

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from streamtwin.reports.percentiles import percentile
from streamtwin.reports.sheet import Sheet
from streamtwin.reports.words import milliseconds, quantity, share

HEAD = (
    "class", "sessions", "fps", "median", "first, ms", "p95, ms", "missed %", "stalls",
    "broken promises",
)  # fmt: skip

MAX_NAMED = 5
"""Sessions sent away that are named; the others are counted."""


def classes_sheet(metrics: Mapping[str, Any]) -> Sheet:
    """What the sessions of each class got, and which of its promises were broken."""
    unsteady = not all(one["steady"] for one in metrics["classes"])
    return Sheet(
        "classes; fps and first frame of the session that got least, fps of the median",
        HEAD,
        tuple((one["class"], str(one["sessions"]), *_figures(one)) for one in metrics["classes"]),
        "No session of some class got steady." if unsteady else "",
        slim=True,
    )


def _figures(one: Mapping[str, Any]) -> list[str]:
    if not one["watched"]:
        return ["-"] * 6 + ["not measured"]
    p95_s = percentile(one["latency_s"], "p95")
    broken = (key.removesuffix("_s") for key, verdict in one["slo"].items() if not verdict["met"])
    return [
        quantity(one["fps"], "frames/s"),
        quantity(one["fps_median"], "frames/s"),
        milliseconds(one["ttff_s"]),
        "-" if isnan(p95_s) else milliseconds(p95_s),
        share(one["deadline_miss_rate"]),
        str(one["stalls"]),
        ", ".join(broken) or "none",
    ]


def entry_words(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Subject and words of what happened at the door; nothing where everybody was let in."""
    away = entry.get("away") or []
    if entry.get("queued"):
        waits = ", ".join(f"{key} {milliseconds(value)}" for key, value in entry["wait_s"].items())
        yield "sessions that waited", f"{entry['queued']}, of those let in: {waits} ms"
    for outcome, words in (("refused", "sessions refused"), ("gave_up", "sessions that gave up")):
        named = [str(one["session"]) for one in away if one["outcome"] == outcome]
        if named:
            more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
            of = f"{len(named)} of {entry['offered']}: number {', '.join(named[:MAX_NAMED])}{more}"
            yield words, of
