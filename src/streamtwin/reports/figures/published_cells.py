"""How do published and predicted frame rates go with cards and steps?"""

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamtwin.reports.figures.drawing import (
    FAINT,
    SOURCE_COLOURS,
    house_style,
    new_figure,
    to_svg,
)
from streamtwin.reports.published_cells import CellView, PublishedView

PANEL_IN = 2.6
"""Height of a row of panels."""

COLUMNS = 3


def frame_rates_svg(view: PublishedView) -> str:
    """Draw the frame rates of *view* as SVG."""
    with house_style():
        return to_svg(frame_rates_figure(view))


def frame_rates_figure(view: PublishedView) -> Figure:
    """A panel for each model, resolution and number of cards: frames/s over steps."""
    panels = [list(cells) for _, cells in groupby(view.of("fps"), key=_panel)]
    rows = -(-len(panels) // COLUMNS)
    drawing = new_figure(0.5 + PANEL_IN * rows)
    grid = drawing.subplots(rows, COLUMNS, squeeze=False)
    most = max(max(one.high, one.cell.value) for cells in panels for one in cells)
    for axes, cells in zip(grid.flat, panels, strict=False):
        _draw(axes, cells)
        axes.set_ylim(0, 1.08 * most)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("frames/s")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside upper left", ncols=2)
    return drawing


def _panel(one: CellView) -> tuple[str, tuple[int, int], int, bool]:
    cell = one.cell
    return cell.model, cell.resolution, cell.gpus, cell.stream_batch


def _draw(axes: Axes, cells: Sequence[CellView]) -> None:
    steps = [one.cell.steps for one in cells]
    predicted = [one.predicted for one in cells]
    beyond = (
        [one.predicted - one.low for one in cells],
        [one.high - one.predicted for one in cells],
    )
    axes.plot(
        steps, [one.cell.value for one in cells], "D", markersize=5, markerfacecolor="none",
        color=SOURCE_COLOURS["measured"], label="published",
    )  # fmt: skip
    axes.errorbar(
        steps, predicted, yerr=beyond, fmt="o-", markersize=3.5, capsize=2, linewidth=1.0,
        color=SOURCE_COLOURS["simulated"], label="predicted, all services at either end of their intervals",
    )  # fmt: skip
    model, (height, width), gpus, _ = _panel(cells[0])
    axes.set_title(f"{model} {height}x{width}, {gpus} card{'s' if gpus > 1 else ''}", fontsize=9)
    axes.set_xticks(sorted(set(steps)))
    axes.set_xlim(min(steps) - 0.4, max(steps) + 0.4)
    axes.set_xlabel("steps")
    axes.grid(visible=True, axis="y", color=FAINT)
