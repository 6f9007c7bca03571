"""How do variants of a scenario differ in frame rate, latency, and what holds them back?"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from streamtwin.reports.figures.drawing import (
    CAUSE_STYLES,
    INK,
    SERVICE_COLOURS,
    SOURCE_COLOURS,
    house_style,
    legend_below,
    new_figure,
    plain_axes,
    to_svg,
)
from streamtwin.reports.variants import PARTS, Variant
from streamtwin.reports.words import service_name

ROW_IN = 0.34
"""Height of a variant's line."""


def variants_svg(variants: Sequence[Variant]) -> str:
    """Draw *variants* as SVG."""
    with house_style():
        return to_svg(variants_figure(variants))


def variants_figure(variants: Sequence[Variant]) -> Figure:
    """Three panels with a line for each variant: frames/s, seconds, shares of the busiest rank."""
    drawing = new_figure(1.2 + ROW_IN * len(variants))
    rates, times, shares = drawing.subplots(1, 3, sharey=True, width_ratios=(3, 3, 4))
    places = list(range(len(variants)))
    _rates(rates, variants, places)
    _times(times, variants, places)
    _shares(shares, variants, places)
    rates.set_yticks(places, [one.label for one in variants])
    rates.set_ylim(len(variants) - 0.5, -0.5)
    for axes in (rates, times, shares):
        plain_axes(axes)
        axes.xaxis.grid(visible=True)
    promised = Patch(facecolor="none", edgecolor=INK, linestyle=":", label="promised")
    parts = [Patch(facecolor=_colour(part), label=_name(part)) for part in PARTS]
    legend_below(drawing, [promised, *parts])
    return drawing


def _rates(axes: Axes, variants: Sequence[Variant], places: Sequence[int]) -> None:
    values = [one.fps for one in variants]
    fewer = [max(0.0, one.fps - one.interval[0]) for one in variants]
    more = [max(0.0, one.interval[1] - one.fps) for one in variants]
    axes.barh(
        places, values, xerr=(fewer, more), height=0.6, color=SOURCE_COLOURS["simulated"],
        error_kw={"elinewidth": 1.0, "capsize": 2, "ecolor": INK},
    )  # fmt: skip
    _promise(axes, [one.metrics["slo"]["fps"]["promised"] for one in variants])
    axes.set_xlabel("frames/s")


def _times(axes: Axes, variants: Sequence[Variant], places: Sequence[int]) -> None:
    late = [0.0 if math.isnan(one.p95_s) else one.p95_s for one in variants]
    axes.barh(places, late, height=0.6, color=SOURCE_COLOURS["simulated"], label="latency p95")
    axes.plot(
        [one.metrics["ttff_s"] for one in variants], places, "D", markersize=4, color=INK,
        markerfacecolor="none", linestyle="", label="first frame",
    )  # fmt: skip
    axes.set_xlabel("latency p95 (bar), first frame (mark), s")


def _shares(axes: Axes, variants: Sequence[Variant], places: Sequence[int]) -> None:
    for one, place in zip(variants, places, strict=True):
        left = 0.0
        for part in PARTS:
            width = 100 * one.shares[part]
            axes.barh([place], [width], left=left, height=0.6, color=_colour(part))
            left += width
    axes.set_xlim(0, 100)
    axes.set_xlabel("time of the busiest rank, %")


def _promise(axes: Axes, promised: Sequence[float]) -> None:
    """A line where all variants promise the same."""
    if len(set(promised)) == 1:
        axes.axvline(promised[0], color=INK, linestyle=":", linewidth=1.0)


def _colour(part: str) -> str:
    return CAUSE_STYLES["communication"][0] if part == "hop" else SERVICE_COLOURS[part]


def _name(part: str) -> str:
    return "hop" if part == "hop" else service_name(part)
