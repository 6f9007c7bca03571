"""How well does the latency model meet the times it was fitted to, and those held out?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from streamtwin.core.errors import CalibrationError
from streamtwin.reports.figures.drawing import (
    FAINT,
    INK,
    house_style,
    legend_below,
    new_figure,
    to_svg,
)

BAND = 0.10
"""Half width of the band around equality."""

_COLOURS = ("#4477aa", "#aa3377", "#228833", "#ee7733", "#66ccee", "#888888")
_STATES = ("fitted", "held out", "unstable")


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
    figure = new_figure(4.2)
    axes = figure.subplots(1, 2 if series else 1, squeeze=False)[0]
    handles = [*_equality(axes[0], points), *_state_handles(points)]
    if series:
        handles += _over_rows(axes[1], series)
    legend_below(figure, handles, columns=4)
    return figure


def _series(points: Sequence[FitPoint]) -> dict[_Series, list[FitPoint]]:
    """Points that differ in rows, by family, blocks and ranks; lone points say nothing here."""
    series: dict[_Series, list[FitPoint]] = {}
    for point in sorted(points, key=lambda p: (p.family, p.ranks, p.blocks, p.rows)):
        if point.blocks and point.rows:
            series.setdefault((point.family, point.blocks, point.ranks), []).append(point)
    return {key: own for key, own in series.items() if len({p.rows for p in own}) > 1}


def _scatter(axes: Axes, x: float, y: float, state: str, colour: str) -> None:
    face = colour if state == "fitted" else "none"
    marker = {"fitted": "o", "held out": "D", "unstable": "x"}[state]
    own = {"color": colour} if marker == "x" else {"facecolors": face, "edgecolors": colour}
    axes.scatter([x], [y], marker=marker, s=26, linewidths=1.3, zorder=3, **own)


def _state_handles(points: Sequence[FitPoint]) -> list[Line2D]:
    present = {point.state for point in points}
    markers = {"fitted": ("o", INK), "held out": ("D", "none"), "unstable": ("x", INK)}
    return [
        Line2D([], [], linestyle="", marker=markers[state][0], markerfacecolor=markers[state][1],
               markeredgecolor=INK, markersize=5, label=f"point {state}")
        for state in _STATES
        if state in present
    ]  # fmt: skip


def _equality(axes: Axes, points: Sequence[FitPoint]) -> list[Line2D | Patch]:
    families = sorted({point.family for point in points})
    colours = dict(zip(families, cycle(_COLOURS), strict=False))
    times = [1e3 * t for point in points for t in (point.measured_s, point.predicted_s)]
    ends = [min(times) / 1.4, max(times) * 1.4]
    axes.fill_between(
        ends, [(1 - BAND) * e for e in ends], [(1 + BAND) * e for e in ends], color=FAINT,
        alpha=0.6, linewidth=0,
    )  # fmt: skip
    axes.plot(ends, ends, color=INK, linewidth=0.8)
    for point in points:
        x, y = 1e3 * point.measured_s, 1e3 * point.predicted_s
        colour = colours[point.family]
        axes.plot([x, x], [1e3 * point.low_s, 1e3 * point.high_s], color=colour, linewidth=0.9)
        _scatter(axes, x, y, point.state, colour)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(xlabel="measured, ms", ylabel="predicted, ms", title="predicted over measured")
    return [
        *(Line2D([], [], marker="o", linestyle="", color=colours[f], label=f) for f in families),
        Line2D([], [], color=INK, linewidth=0.8, label="predicted = measured"),
        Patch(facecolor=FAINT, alpha=0.6, label=f"± {BAND:.0%}".replace("%", " %")),
    ]


def _over_rows(axes: Axes, series: dict[_Series, list[FitPoint]]) -> list[Line2D]:
    handles = []
    for ((family, blocks, ranks), points), colour in zip(
        series.items(), cycle(_COLOURS), strict=False
    ):
        rows = [point.rows for point in points]
        low, high = ([1e3 * getattr(p, end) for p in points] for end in ("low_s", "high_s"))
        axes.fill_between(rows, low, high, color=colour, alpha=0.15, linewidth=0)
        label = f"{family}, {blocks} blocks" + (f", {ranks} ranks" if ranks > 1 else "")
        style = "--" if ranks > 1 else "-"
        axes.plot(rows, [1e3 * p.predicted_s for p in points], style, color=colour, linewidth=1.2)
        handles.append(Line2D([], [], color=colour, linestyle=style, label=label))
        for point in points:
            _scatter(axes, point.rows, 1e3 * point.measured_s, point.state, colour)
    axes.set(xlabel="rows of the batch", ylabel="time of one pass, ms", title="time over rows")
    axes.set_xticks(sorted({p.rows for points in series.values() for p in points}))
    axes.set_ylim(bottom=0)
    axes.yaxis.grid(visible=True)
    return handles
