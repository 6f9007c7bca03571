"""What does a comparison with published results show: every cell, and which bounds hold?"""

from collections.abc import Sequence
from itertools import groupby

from rich.table import Table

from streamtwin.core.checks import UNITS, Metric
from streamtwin.reports.figures.published_cells import frame_rates_svg
from streamtwin.reports.published_cells import CellView, PublishedView, Verdict
from streamtwin.reports.svg_inline import inline_svg
from streamtwin.reports.tables import slim_table
from streamtwin.reports.templating import fill

METRICS: dict[Metric, str] = {
    "fps": "frame rates",
    "pass_s": "passes",
    "first_frame_s": "first frames",
}

HEADINGS = ("published", "predicted", "lowest to highest", "error, %", "unit")
CAPTION = (
    "Frame rates over denoising steps: published, and predicted from a profile that was fitted to one "
    "card alone; bars reach from the prediction with every service at the low end of its 90 % interval "
    "to that with every one at the high end, which is more than 90 % of what may be."
)


def render_published(view: PublishedView) -> str:
    """Make the page of *view*."""
    figure = inline_svg(frame_rates_svg(view), CAPTION) if view.of("fps") else None
    return fill(
        "published.html.j2",
        publication=view.publication,
        profile=view.profile,
        words=words(view),
        figure=figure,
        caption=CAPTION,
        headings=("cell", *HEADINGS, "note", "service times", "source"),
        rows=[_page_cells(one) for one in view.cells],
    )


def published_tables(view: PublishedView) -> list[Table]:
    """A table for each metric of each model and resolution, then every bound."""
    grouped = groupby(view.cells, key=lambda one: (one.cell.metric, one.cell.setting))
    tables = [_table(metric, setting, list(cells)) for (metric, setting), cells in grouped]
    bounds = slim_table(
        f"bounds; service times: {view.profile}", ("", "found, %", "bound, %", "verdict")
    )
    for verdict in view.verdicts:
        found, bound = (f"{100 * value:.1f}" for value in (verdict.found, verdict.bound))
        bounds.add_row(verdict.what, found, bound, "kept" if verdict.kept else "broken")
    return [*tables, bounds]


def _table(metric: Metric, setting: str, cells: Sequence[CellView]) -> Table:
    title = f"{METRICS[metric]} of {setting}, {UNITS[metric]}"
    table = slim_table(title, ("", *HEADINGS[:-1]))
    for one in cells:
        table.add_row(one.cell.place, *cells_of(one)[:-1])
    return table


def cells_of(one: CellView) -> tuple[str, ...]:
    """Published, predicted, interval, error and unit of a cell, in words."""
    numbers = [one.scaled(value) for value in (one.cell.value, one.predicted, one.low, one.high)]
    published, predicted, low, high = (f"{number:.2f}" for number in numbers)
    error = "-" if one.error is None else f"{100 * one.error:+.1f}"
    return published, predicted, f"{low} to {high}", error, UNITS[one.cell.metric]


def words(view: PublishedView) -> str:
    """The verdict in a sentence for each bound, and how many cells the intervals hold."""
    said = [_sentence(verdict) for verdict in view.verdicts]
    inside = f"{view.inside} of {len(view.cells)} published values lie between their lowest and highest predictions."
    return " ".join([*said, inside])


def _sentence(verdict: Verdict) -> str:
    kept = "kept" if verdict.kept else "broken"
    what = verdict.what.capitalize()
    return f"{what}: {100 * verdict.found:.1f} %, bound {100 * verdict.bound:g} % {kept}."


def _page_cells(one: CellView) -> tuple[str, ...]:
    return one.cell.label, *cells_of(one), one.note or "-", one.provenance, one.cell.source
