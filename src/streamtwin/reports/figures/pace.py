"""How did the pace of a host change while it was measured?"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from streamtwin.reports.figures.drawing import house_style, new_figure, to_svg
from streamtwin.reports.pace_view import PaceView

COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377")
"""Of ranks, in turn (Paul Tol's "bright" scheme)."""


def pace_svg(paces: Sequence[PaceView]) -> str:
    """Draw *paces* as SVG: one panel for each number of ranks that computed at once."""
    with house_style():
        return to_svg(pace_figure(paces))


def pace_figure(paces: Sequence[PaceView]) -> Figure:
    """The figure of `pace_svg`."""
    figure = new_figure(0.5 + 1.5 * len(paces))
    panels = figure.subplots(len(paces), 1, squeeze=False, sharey=True)[:, 0]
    for axes, pace in zip(panels, paces, strict=True):
        for rank, factors in enumerate(pace.factors):
            instants_s = [step * pace.step_s for step in range(len(factors) + 1)]
            axes.stairs(
                factors, instants_s, baseline=None, linewidth=0.9, label=f"rank {rank}",
                color=COLOURS[rank % len(COLOURS)],
            )  # fmt: skip
        axes.axhline(1.0, linewidth=0.6, color="#888888")
        axes.set_title(pace.title)
        axes.set_ylabel("times as long")
        axes.set_xlim(0, pace.step_s * len(pace.factors[0]))
        axes.grid(visible=True, axis="y")
        if len(pace.factors) > 1:
            axes.legend(loc="upper right", ncols=len(pace.factors))
    panels[-1].set_xlabel("time that was measured, s")
    return figure
