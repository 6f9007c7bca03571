"""What does a comparison of variants show, at the terminal and on its page?"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from streamtwin.reports.figures.variants import variants_svg
from streamtwin.reports.svg_inline import inline_svg
from streamtwin.reports.tables import slim_table
from streamtwin.reports.templating import fill
from streamtwin.reports.variants import Variant
from streamtwin.reports.words import quantity, share

HEADINGS = ("fps", "first, ms", "p95, ms", "most time goes to")
PAGE_HEADINGS = (
    "variant", "frames/s", "90 % interval", "first frame, ms", "latency p95, ms", "misses, %",
    "promises broken", "most time of the busiest rank goes to", "overrides",
)  # fmt: skip
CAPTION = (
    "Frame rate with the calibration's 90 % interval, latency and first frame, and what the busiest "
    "rank spends the steady window on."
)


def variants_table(name: str, variants: Sequence[Variant]) -> Table:
    """One line a variant."""
    table = slim_table(f"{name} (simulated)", ("", *HEADINGS))
    for one in variants:
        table.add_row(one.label, f"{one.fps:.2f}", *_times(one)[:2], one.limit)
    return table


def render_variants(
    name: str,
    question: str,
    variants: Sequence[Variant],
    overrides: Mapping[str, Sequence[str]],
    scenario_yaml: str,
) -> str:
    """Make the page of *variants*."""
    stated = list(dict.fromkeys(_stated(one) for one in variants))
    return fill(
        "variants.html.j2",
        name=name,
        question=question,
        figure=inline_svg(variants_svg(variants), CAPTION),
        caption=CAPTION,
        headings=PAGE_HEADINGS,
        rows=[_page_row(one, overrides.get(one.label, ())) for one in variants],
        origins=stated,
        scenario_yaml=scenario_yaml,
    )


def _times(one: Variant) -> tuple[str, str, str]:
    misses = share(one.metrics["deadline_miss_rate"])
    return quantity(one.metrics["ttff_s"], "s"), quantity(one.p95_s, "s"), misses


def _page_row(one: Variant, overrides: Sequence[str]) -> tuple[str, ...]:
    low, high = one.interval
    broken = [key for key, found in one.metrics["slo"].items() if not found["met"]]
    judged = ", ".join(broken) if broken else "none"
    return (
        one.label, f"{one.fps:.2f}", f"{low:.2f} to {high:.2f}", *_times(one), judged, one.limit,
        " ".join(overrides) or "-",
    )  # fmt: skip


def _stated(one: Variant) -> str:
    """Whose service times a variant has."""
    known: Mapping[str, Any] = one.metrics["provenance"]
    return f"Service times: {known['profile']}, {known['profile_date']} ({known['service_times']})."
