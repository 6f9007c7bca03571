"""How does a measured point show whether it was fitted, held out, or says little?"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from streamtwin.reports.figures.drawing import INK

MARKERS: Mapping[str, str] = MappingProxyType(
    {"fitted": "o", "held out": "D", "unstable": "x", "throttled": "v"}
)
"""Marker of each state that a point may have."""


def mark(axes: Axes, x: float, y: float, state: str, colour: str) -> None:
    """Put a point in *state* at *x*, *y*."""
    axes.plot(
        [x], [y], linestyle="", marker=MARKERS[state], color=colour, markersize=5, zorder=3,
        markerfacecolor=colour if state == "fitted" else "none", markeredgewidth=1.3,
    )  # fmt: skip


def state_handles(states: Iterable[str], noun: str) -> list[Artist]:
    """Legend entries of the *states* that occur, each after what a point is."""
    present = set(states)
    return [
        Line2D(
            [], [], linestyle="", marker=marker, color=INK, markersize=5, label=f"{noun} {state}",
            markerfacecolor=INK if state == "fitted" else "none",
        )
        for state, marker in MARKERS.items()
        if state in present
    ]  # fmt: skip
