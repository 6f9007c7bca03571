"""How much of each rank's time is idle, and why, measured beside simulated?"""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamtwin.reports.figures.drawing import (
    CAUSE_STYLES,
    EDGE,
    cause_patch,
    house_style,
    in_order,
    legend_below,
    new_figure,
    plain_axes,
    to_svg,
)

_Metrics = Mapping[str, Any]
_Bar = tuple[str, dict[str, float]]


def bubbles_svg(runs: Mapping[str, _Metrics]) -> str:
    """Draw the bubbles of the *runs*, metrics under the label of each, as SVG."""
    with house_style():
        return to_svg(bubbles_figure(runs))


def bubbles_figure(runs: Mapping[str, _Metrics]) -> Figure:
    """Draw one stacked bar per rank and run, in % of the rank's span."""
    bars = _bars(runs)
    figure = new_figure(1.15 + 0.27 * len(bars))
    axes = figure.subplots()
    for index, (_, shares) in enumerate(bars):
        _bar(axes, _position(index, len(runs)), shares)
    axes.set_yticks([_position(i, len(runs)) for i in range(len(bars))], [b[0] for b in bars])
    axes.invert_yaxis()
    plain_axes(axes)
    axes.set_xlim(0, 1.12 * max([1.0, *(sum(shares.values()) for _, shares in bars)]))
    axes.set_xlabel("idle time, % of the time from the rank's first to its last work")
    axes.xaxis.grid(visible=True)
    present = in_order({cause for _, shares in bars for cause, value in shares.items() if value})
    legend_below(figure, [cause_patch(cause) for cause in present])
    return figure


def shares_by_cause(rank: Mapping[str, Any]) -> dict[str, float]:
    """Bubbles of one rank of the metrics in % of its span: they sum to its idle share."""
    span_s = rank["span_s"]
    return {
        cause: 100 * seconds / span_s if span_s else 0.0
        for cause, seconds in rank["bubbles"].items()
    }


def _bars(runs: Mapping[str, _Metrics]) -> list[_Bar]:
    by_rank: dict[int, list[_Bar]] = {}
    for label, metrics in runs.items():
        for rank in metrics["ranks"]:
            bar = (f"rank {rank['rank']} {label}", shares_by_cause(rank))
            by_rank.setdefault(rank["rank"], []).append(bar)
    return [bar for rank in sorted(by_rank) for bar in by_rank[rank]]


def _position(index: int, group: int) -> float:
    return index + 0.35 * (index // group)


def _bar(axes: Axes, at: float, shares: Mapping[str, float]) -> None:
    left = 0.0
    for cause in in_order({cause for cause, value in shares.items() if value}):
        colour, hatch = CAUSE_STYLES[cause]
        axes.barh(
            at, shares[cause], left=left, height=0.78, color=colour, hatch=hatch,
            edgecolor=EDGE, linewidth=0.4,
        )  # fmt: skip
        left += shares[cause]
    axes.annotate(
        f"{left:.1f} %", (left, at), xytext=(4, 0), textcoords="offset points", va="center"
    )
