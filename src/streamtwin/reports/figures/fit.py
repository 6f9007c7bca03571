"""How well does the latency model meet the times it was fitted to, and those held out?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from streamtwin.core.errors import CalibrationError
from streamtwin.core.records import SERVICES
from streamtwin.reports.figures.drawing import (
    FAINT,
    INK,
    SERVICE_COLOURS,
    house_style,
    legend_below,
    new_figure,
    to_svg,
)
from streamtwin.reports.figures.points import mark, state_handles
from streamtwin.reports.words import service_name

BAND = 0.10
"""Half width of the band around equality."""

_OTHER_COLOURS = ("#ee7733", "#66ccee", "#888888")
# Paul Tol's "vibrant" scheme
_SERIES_COLOURS = ("#ee7733", "#009988", "#0077bb", "#cc3311", "#33bbee", "#ee3377")


@dataclass(frozen=True, slots=True)
class FitPoint:
    """One measured operation and what the model predicts for it, with its 90 % interval.

    `blocks` and `rows` are 0 where the family has none; `ranks` measured at the same time.
    """

    family: str
    label: str
    blocks: int
    rows: int
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float
    held_out: bool = False
    stable: bool = True
    ranks: int = 1

    @property
    def state(self) -> str:
        """Which marker the point gets."""
        if not self.stable:
            return "unstable"
        return "held out" if self.held_out else "fitted"


_Series = tuple[str, int, int]


def fit_svg(points: Sequence[FitPoint]) -> str:
    """Draw the calibration *points* as SVG.

    Raises:
        CalibrationError: there are none, or one is not a positive time.
    """
    with house_style():
        return to_svg(fit_figure(points))


def fit_figure(points: Sequence[FitPoint]) -> Figure:
    """Draw predicted over measured, and time over rows where a family has rows."""
    if not points:
        raise CalibrationError("no calibration points to draw")
    wrong = [p.label for p in points if not (p.measured_s > 0 and p.predicted_s > 0)]
    if wrong:
        raise CalibrationError(f"calibration points without a positive time: {', '.join(wrong)}")
    series = _series(points)
    figure = new_figure(4.6)
    grid = figure.add_gridspec(2, 2 if series else 1, height_ratios=[2.6, 1])
    over = figure.add_subplot(grid[0, 0])
    colours = _family_colours(points)
    _equality(over, points, colours)
    _errors(figure.add_subplot(grid[1, 0], sharex=over), points, colours)
    lines = _over_rows(figure.add_subplot(grid[:, 1]), series) if series else []
    families = [
        Line2D([], [], marker="s", linestyle="", color=colour, label=service_name(family))
        for family, colour in colours.items()
    ]
    marks = [*state_handles([point.state for point in points], "point"), *_line_handles()]
    legend_below(figure, marks, families, lines, columns=5)
    return figure


def _family_colours(points: Sequence[FitPoint]) -> dict[str, str]:
    """Services keep the colour that they have in every figure; other families get the rest."""
    found = {point.family for point in points}
    families = [*(s for s in SERVICES if s in found), *sorted(found - set(SERVICES))]
    others = cycle(_OTHER_COLOURS)
    return {family: SERVICE_COLOURS.get(family) or next(others) for family in families}


def _series(points: Sequence[FitPoint]) -> dict[_Series, list[FitPoint]]:
    """Points that differ in rows, by family, blocks and ranks; lone points say nothing here."""
    series: dict[_Series, list[FitPoint]] = {}
    for point in sorted(points, key=lambda p: (p.family, p.ranks, p.blocks, p.rows)):
        if point.blocks and point.rows:
            series.setdefault((point.family, point.blocks, point.ranks), []).append(point)
    return {key: own for key, own in series.items() if len({p.rows for p in own}) > 1}


def _line_handles() -> list[Line2D | Patch]:
    band = f"± {100 * BAND:.0f} %"
    return [
        Line2D([], [], color=INK, linewidth=0.8, label="predicted = measured"),
        Patch(facecolor=FAINT, alpha=0.6, label=band),
    ]


def _equality(axes: Axes, points: Sequence[FitPoint], colours: Mapping[str, str]) -> None:
    times = [1e3 * t for point in points for t in (point.measured_s, point.predicted_s)]
    ends = np.array([min(times) / 1.4, max(times) * 1.4])
    low, high = (1 - BAND) * ends, (1 + BAND) * ends
    axes.fill_between(ends, low, high, color=FAINT, alpha=0.6, linewidth=0)
    axes.plot(ends, ends, color=INK, linewidth=0.8)
    for point in points:
        x, colour = 1e3 * point.measured_s, colours[point.family]
        axes.plot([x, x], [1e3 * point.low_s, 1e3 * point.high_s], color=colour, linewidth=0.9)
        mark(axes, x, 1e3 * point.predicted_s, point.state, colour)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(ylabel="predicted, ms", title="predicted over measured")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelbottom=False)


def _errors(axes: Axes, points: Sequence[FitPoint], colours: Mapping[str, str]) -> None:
    axes.axhspan(-100 * BAND, 100 * BAND, color=FAINT, alpha=0.6, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    for point in points:
        error = 100 * (point.predicted_s / point.measured_s - 1)
        mark(axes, 1e3 * point.measured_s, error, point.state, colours[point.family])
    reach = max(150 * BAND, 1.2 * float(np.abs(axes.dataLim.intervaly).max()))
    axes.set(xlabel="measured, ms", ylabel="error, %", ylim=(-reach, reach))


def _over_rows(axes: Axes, series: Mapping[_Series, list[FitPoint]]) -> list[Line2D]:
    """Draw each series; its colour says the blocks, its line how many ranks worked at once."""
    kinds = sorted({(family, blocks) for family, blocks, _ in series})
    colours = dict(zip(kinds, cycle(_SERIES_COLOURS), strict=False))
    handles = []
    for (family, blocks, ranks), points in series.items():
        colour = colours[family, blocks]
        line: Literal["--", "-"] = "--" if ranks > 1 else "-"
        rows = sorted({point.rows for point in points})
        mean, low, high = (
            [1e3 * fmean(getattr(p, end) for p in points if p.rows == count) for count in rows]
            for end in ("predicted_s", "low_s", "high_s")
        )
        axes.fill_between(rows, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(rows, mean, line, color=colour, linewidth=1.2)
        for point in points:
            mark(axes, point.rows, 1e3 * point.measured_s, point.state, colour)
        label = f"{service_name(family)}, {blocks} blocks" + (
            f", {ranks} ranks" if ranks > 1 else ""
        )
        handles.append(Line2D([], [], color=colour, linestyle=line, label=label))
    axes.set(xlabel="rows of the batch", ylabel="time of one pass, ms", title="time over rows")
    axes.set_xticks(sorted({p.rows for points in series.values() for p in points}))
    axes.set_ylim(bottom=0)
    axes.yaxis.grid(visible=True)
    return handles
