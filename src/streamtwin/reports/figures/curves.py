"""How does one fit meet its points: curve with interval, and what remains?"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from streamtwin.reports.figures.drawing import (
    FAINT,
    INK,
    house_style,
    legend_below,
    new_figure,
    to_svg,
)
from streamtwin.reports.figures.points import mark, state_handles
from streamtwin.reports.profile_view import FitView

# Paul Tol's "bright" scheme, which stays apart for colour-blind readers
COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee", "#ccbb44", "#888888")


def curves_svg(fit: FitView) -> str:
    """Draw *fit* as SVG: its points with curves and intervals, and its residuals."""
    with house_style():
        return to_svg(curves_figure(fit))


def curves_figure(fit: FitView) -> Figure:
    """Left: measured points, predicted curves with their interval. Right: errors over the time."""
    series = list(dict.fromkeys(case.series for case in fit.cases))
    colours = dict(zip(series, cycle(COLOURS), strict=False))
    # a row a case where no axis orders them; never so low that the residuals cannot be read
    plot_in = 2.9 if fit.axis else max(1.5, 0.3 * len(fit.cases))
    figure = new_figure(0.9 + plot_in + 0.24 * -(-len(series) // 4))
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    if fit.axis:
        _curves(left, fit, colours)
    else:
        _side_by_side(left, fit, colours)
    _residuals(right, fit, colours)
    legend_below(figure, _series_handles(colours), _marks(fit), columns=4)
    return figure


def _curves(axes: Axes, fit: FitView, colours: dict[str, str]) -> None:
    for curve in fit.curves:
        colour = colours[curve.series]
        low, mean, high = (_ms(each) for each in (curve.low_s, curve.mean_s, curve.high_s))
        axes.fill_between(curve.xs, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(curve.xs, mean, color=colour, linewidth=1.2)
    shown = [case for case in fit.cases if case.on_curve]
    for case in shown:
        mark(axes, case.x, 1e3 * case.measured_s, case.state, colours[case.series])
    axes.set(xlabel=fit.axis, ylabel="time, ms", title="measured, and predicted with 90 % interval")
    xs = sorted({case.x for case in shown})
    if xs and xs[-1] > 50 * xs[0] > 0:
        axes.set(xscale="log", yscale="log")
        decades(axes)
    else:
        axes.set_xticks(xs)
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.set_ylim(bottom=0)
    axes.yaxis.grid(visible=True)


def _side_by_side(axes: Axes, fit: FitView, colours: dict[str, str]) -> None:
    """Cases that no axis orders: one line each, the interval as a bar."""
    for place, case in enumerate(fit.cases):
        colour = colours[case.series]
        axes.plot(
            [1e3 * case.low_s, 1e3 * case.high_s], [place, place], color=colour, linewidth=5,
            alpha=0.25, solid_capstyle="butt",
        )  # fmt: skip
        axes.plot([1e3 * case.predicted_s], [place], marker="|", color=colour, markersize=11)
        mark(axes, 1e3 * case.measured_s, place, case.state, colour)
    axes.set_yticks(range(len(fit.cases)), [case.label for case in fit.cases])
    axes.set_ylim(len(fit.cases) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set(xlabel="time, ms", title="measured, and predicted with 90 % interval")
    axes.xaxis.grid(visible=True)


def _residuals(axes: Axes, fit: FitView, colours: dict[str, str]) -> None:
    width = 100 * fit.half_width
    axes.axhspan(-width, width, color=FAINT, alpha=0.45, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    for case in fit.cases:
        mark(axes, 1e3 * case.predicted_s, 100 * case.error, case.state, colours[case.series])
    times = [1e3 * case.predicted_s for case in fit.cases]
    if times and max(times) > 20 * min(times) > 0:
        axes.set_xscale("log")
        decades(axes, y=False)
    worst = max((100 * abs(case.error) for case in fit.cases), default=1.0)
    reach = 1.25 * max(worst, min(width, 2 * worst), 1.0)
    axes.set(xlabel="predicted, ms", ylabel="error, %", ylim=(-reach, reach), title="residuals")


def decades(axes: Axes, *, x: bool = True, y: bool = True) -> None:
    """Label logarithmic axes with plain numbers, not more than there is room for."""
    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            low, high = axis.get_view_interval()
            wide = high > 300 * max(low, 1e-300)
            axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=8))
            axis.set_major_formatter(FuncFormatter(_short))
            axis.set_minor_formatter(NullFormatter())


def _short(value: float, _place: int) -> str:
    """1500000 as 1.5M: bytes and FLOP/s as people say them."""
    for limit, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"


def _ms(seconds: Sequence[float]) -> list[float]:
    return [float(value) for value in 1e3 * np.asarray(seconds)]


def _series_handles(colours: dict[str, str]) -> list[Artist]:
    named = [name for name in colours if name]
    return [Line2D([], [], color=colours[name], label=name) for name in named]


def _marks(fit: FitView) -> list[Artist]:
    band = Patch(facecolor=FAINT, alpha=0.6, label=f"90 % interval, ± {100 * fit.half_width:.1f} %")
    return [*state_handles([case.state for case in fit.cases], "case"), band]
