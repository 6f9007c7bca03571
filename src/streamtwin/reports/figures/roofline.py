"""How much arithmetic does each case do a byte, how fast, and what could the device do at most?"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from streamtwin.reports.figures.curves import COLOURS, decades
from streamtwin.reports.figures.drawing import (
    INK,
    SERVICE_COLOURS,
    house_style,
    legend_below,
    new_figure,
    to_svg,
)
from streamtwin.reports.figures.points import mark, state_handles
from streamtwin.reports.profile_view import CaseView, CeilingView, FitView, ProfileView

_LINES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")


def roofline_svg(profile: ProfileView) -> str | None:
    """Draw the rooflines of *profile* as SVG; None where no case counts its work."""
    if not counted(profile.fits):
        return None
    with house_style():
        return to_svg(roofline_figure(profile))


def roofline_figure(profile: ProfileView) -> Figure:
    """Achieved FLOP/s over FLOP per byte of every counted case, under the ceilings known."""
    cases = counted(profile.fits)
    figure = new_figure(4.3)
    axes = figure.subplots()
    colours = _colours(cases)
    for name, case in cases:
        assert case.intensity is not None
        assert case.flops_per_s is not None
        mark(axes, case.intensity, case.flops_per_s, case.state, colours[name])
    xs = [case.intensity or 1.0 for _, case in cases]
    ridge = profile.ridge
    # the ridge belongs in the picture: it parts what memory holds from what arithmetic does
    seen = [*xs, ridge / 3, 2 * ridge] if ridge else xs
    ends = min(seen) / 2, max(seen) * 2
    axes.set(xscale="log", yscale="log", xlim=ends)
    roofs = _roofs(axes, profile.ceilings, ends)
    axes.set(xlabel="arithmetic intensity, FLOP/B", ylabel="achieved, FLOP/s")
    axes.set_title("roofline" if roofs else "achieved rates; the device's ceilings are not known")
    decades(axes)
    axes.grid(visible=True)
    names = [
        Line2D([], [], marker="s", linestyle="", color=colour, label=name)
        for name, colour in colours.items()
    ]
    legend_below(
        figure,
        [*names, *state_handles([case.state for _, case in cases], "case")],
        roofs,
        columns=4,
    )
    return figure


def counted(fits: Sequence[FitView]) -> list[tuple[str, CaseView]]:
    """Cases whose work is counted, each with what it is of."""
    return [
        (fit.title, case) for fit in fits for case in fit.cases if case.flops and case.intensity
    ]


def _colours(cases: Sequence[tuple[str, CaseView]]) -> Mapping[str, str]:
    """The first fit of a service has the colour of that service in every figure."""
    colours: dict[str, str] = {}
    for name in dict.fromkeys(name for name, _ in cases):
        own = SERVICE_COLOURS.get(name.split()[0], COLOURS[-1])
        free = [colour for colour in COLOURS if colour not in colours.values()]
        colours[name] = own if own not in colours.values() else (free or COLOURS)[0]
    return colours


def _roofs(axes: Axes, ceilings: Sequence[CeilingView], ends: tuple[float, float]) -> list[Artist]:
    """A roof for each arithmetic ceiling, rising with the memory's rate where that is known."""
    rates = [one.bytes_per_s for one in ceilings if one.bytes_per_s]
    xs = np.geomspace(*ends, 400)
    handles: list[Artist] = []
    arithmetic = [one for one in ceilings if one.flops_per_s]
    for one, line in zip(arithmetic, _LINES, strict=False):
        top = float(one.flops_per_s or 0.0)
        roof = np.minimum(top, rates[0] * xs) if rates else np.full_like(xs, top)
        axes.plot(xs, roof, line, color=INK, linewidth=1.1)
        handles.append(Line2D([], [], color=INK, linestyle=line, label=one.name))
    return handles
