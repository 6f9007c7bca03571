"""How far do a profile's predictions lie from the published figures that it is fitted to?"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from streamtwin.reports.figures.drawing import (
    FAINT,
    INK,
    SOURCE_COLOURS,
    house_style,
    new_figure,
    to_svg,
)
from streamtwin.reports.unmeasured import FigureView

ROW_IN = 0.21
"""Height of a figure's line."""


def figures_svg(figures: Sequence[FigureView]) -> str:
    """Draw the errors of *figures* as SVG."""
    with house_style():
        return to_svg(figures_figure(figures))


def figures_figure(figures: Sequence[FigureView]) -> Figure:
    """A line for each figure: signed error in percent, with the profile's 90 % interval."""
    drawing = new_figure(0.8 + ROW_IN * len(figures))
    axes = drawing.subplots()
    places = range(len(figures))
    errors = [100 * one.error for one in figures]
    fewer = [100 * (one.predicted - one.low) / one.published for one in figures]
    more = [100 * (one.high - one.predicted) / one.published for one in figures]
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.errorbar(
        errors, places, xerr=(fewer, more), fmt="o", markersize=3.5, capsize=2, linewidth=1.0,
        color=SOURCE_COLOURS["simulated"],
    )  # fmt: skip
    axes.set_yticks(places, [one.label for one in figures])
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.grid(visible=True, axis="x", color=FAINT)
    axes.set_xlabel("predicted against published, %")
    axes.set_title("published figures")
    return drawing
