"""How do the variants of a scenario compare, and what holds each of them back?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamtwin.core.intervals import overlap_s
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records, Span
from streamtwin.reports.percentiles import percentile
from streamtwin.reports.words import service_name

PARTS = ("encode", "dit", "decode", "hop")
"""What fills the time of a rank; the rest is waiting."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant: its metrics, and what the busiest rank spends the steady window on.

    `shares` are of that window, by `PARTS`; `busiest` is the rank that has least time to wait.
    """

    label: str
    metrics: Mapping[str, Any]
    busiest: int
    shares: Mapping[str, float]

    @property
    def fps(self) -> float:
        """Frames/s of the session that got least."""
        return float(self.metrics["fps"])

    @property
    def interval(self) -> tuple[float, float]:
        """Where 90 of 100 runs lie, given what the calibration leaves open; frames/s."""
        low, high = self.metrics["intervals"].get("fps", (self.fps, self.fps))
        return low, high

    @property
    def p95_s(self) -> float:
        """p95 of the latency in seconds; NaN from too few chunks."""
        return percentile(self.metrics["latency_s"], "p95")

    @property
    def limit(self) -> str:
        """Rank and service that most of the busiest rank's time goes into."""
        part = max(PARTS, key=lambda name: self.shares[name])
        name = "hop" if part == "hop" else service_name(part)
        return f"{name} on {self.busiest}, {100 * self.shares[part]:.0f} %"


def variant_of(label: str, records: Records, metrics: Mapping[str, Any]) -> Variant:
    """The view of one simulated run."""
    window = compute_metrics(records)["steady_window_s"]
    interval = (window[0], window[1])
    spent = {rank["rank"]: _shares(records, rank["rank"], interval) for rank in metrics["ranks"]}
    busiest = max(spent, key=lambda rank: sum(spent[rank].values()))
    return Variant(label, metrics, busiest, spent[busiest])


def _shares(records: Records, rank: int, window: tuple[float, float]) -> dict[str, float]:
    def share(kind: str) -> float:
        own = [_ends(span) for span in records.spans if span.rank == rank and span.kind == kind]
        return overlap_s(own, window) / (window[1] - window[0])

    return {kind: share(kind) for kind in PARTS}


def _ends(span: Span) -> tuple[float, float]:
    return span.began_s, span.ended_s
