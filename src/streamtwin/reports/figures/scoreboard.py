"""Which deployments does the twin predict how well, and how much do real runs differ themselves?"""

from matplotlib.figure import Figure

from streamtwin.reports.figures.drawing import (
    FAINT,
    INK,
    SOURCE_COLOURS,
    house_style,
    new_figure,
    to_svg,
)
from streamtwin.reports.scoreboard import BOUNDS, WORDS, Kind, Score, Scoreboard

ROW_IN = 0.24
"""Height of a deployment's line."""


def scoreboard_svg(board: Scoreboard) -> str:
    """Draw *board* as SVG."""
    with house_style():
        return to_svg(scoreboard_figure(board))


def scoreboard_figure(board: Scoreboard) -> Figure:
    """A panel for each kind of metric: signed error of each deployment, with the repeats' spread."""
    labels = _labels(board)
    drawing = new_figure(1.1 + ROW_IN * len(labels))
    panels = drawing.subplots(1, len(BOUNDS), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, BOUNDS, strict=True):
        bound = 100 * BOUNDS[kind]
        axes.axvspan(
            -bound, bound, color=FAINT, alpha=0.4, linewidth=0, label="bound of the median"
        )
        axes.axvline(0.0, color=INK, linewidth=0.8)
        for one in _shown(board, kind):
            axes.errorbar(
                [100 * one.error], [labels.index(_label(one))], xerr=[50 * one.spread],
                fmt="o", markersize=3.5, capsize=2, linewidth=1.0,
                color=SOURCE_COLOURS["simulated"],
                label="predicted against measured, with half the range of the repeats",
            )  # fmt: skip
        axes.set_title(WORDS[kind].split(",")[0], fontsize=9)
        axes.set_xlabel("points" if kind == "misses" else "error, %")
        axes.grid(visible=True, axis="x", color=FAINT)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    handles, words = panels[0].get_legend_handles_labels()
    once = dict(zip(words, handles, strict=True))
    drawing.legend(list(once.values()), list(once), loc="outside upper left", ncols=2)
    return drawing


def _shown(board: Scoreboard, kind: Kind) -> list[Score]:
    """Scores of *kind*; of fps and period, which say the same, the period alone."""
    return [one for one in board.scores if one.kind == kind and one.metric != "fps"]


def _labels(board: Scoreboard) -> list[str]:
    """Deployments by load."""
    by_load = sorted(board.scores, key=lambda one: one.load)
    return list(dict.fromkeys(_label(one) for one in by_load))


def _label(one: Score) -> str:
    return f"{one.label}, load {100 * one.load:.0f} %"
