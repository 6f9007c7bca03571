"""Which colours, fonts and frames do all figures share, and how does one become SVG?"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from streamtwin.core.bubbles import CAUSES
from streamtwin.core.records import SERVICES
from streamtwin.reports.words import cause_name, service_name

INK = "#24292f"
"""Text, axes and edges; a page may put its own colour in its place."""
FAINT = "#c9ced6"
"""Grid lines; likewise."""
EDGE = "#57606a"
"""Edges and hatches of idle time."""
WIDTH_IN = 9.2

# Services from Paul Tol's "bright" scheme, causes from his "light" one, https://personal.sron.nl/~pault/:
# both stay apart for colour-blind readers, and solid against hatched keeps the two apart.
SERVICE_COLOURS: Mapping[str, str] = MappingProxyType(
    dict(zip(SERVICES, ("#228833", "#4477aa", "#aa3377"), strict=True))
)
CAUSE_STYLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "input": ("#bbcc33", "||||"),
        "upstream": ("#ee8866", "\\\\\\\\"),
        "downstream": ("#ffaabb", "////"),
        "communication": ("#99ddff", "----"),
        "host": ("#dddddd", ""),
        "imbalance": ("#eedd88", "xxxx"),
        "fill_drain": ("#cdbbe9", "//"),
        "rebalancing": ("#aaaa00", "++++"),
        "recovery": ("#cc6677", "oo"),
        "policy_wait": ("#44bb99", "xx"),
    }
)
SOURCE_COLOURS: Mapping[str, str] = MappingProxyType(
    {"measured": "#4477aa", "simulated": "#ee7733"}
)

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "hatch.color": EDGE,
    "hatch.linewidth": 0.35,
    "legend.edgecolor": "none",
    "legend.facecolor": "none",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "streamtwin",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style, whatever the reader's own settings; restore those after."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """Make an empty transparent figure."""
    return Figure(figsize=(width_in, height_in), layout="constrained", facecolor="none")


def to_svg(figure: Figure) -> str:
    """Draw *figure* as SVG text, the same text for the same figure."""
    target = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(target, format="svg", metadata=metadata)
    return target.getvalue()


def service_patch(service: str) -> Patch:
    """Legend entry of a service."""
    return Patch(facecolor=SERVICE_COLOURS[service], label=service_name(service))


def cause_patch(cause: str) -> Patch:
    """Legend entry of a cause of idle time."""
    colour, hatch = CAUSE_STYLES[cause]
    label = f"idle: {cause_name(cause)}"
    return Patch(facecolor=colour, hatch=hatch, edgecolor=EDGE, linewidth=0.4, label=label)


def in_order(causes: set[str]) -> list[str]:
    """Sort *causes* as the vocabulary lists them."""
    return [cause for cause in CAUSES if cause in causes]


def legend_below(figure: Figure, *rows: Sequence[Artist], columns: int = 6) -> None:
    """Put one legend for all axes under the figure, each of *rows* from its left edge."""
    lines = [row[i : i + columns] for row in rows for i in range(0, len(row), columns)]
    width = max((len(line) for line in lines), default=0)
    blank = Line2D([], [], linestyle="", label=" ")
    # the library fills column by column
    cells = [line[i] if i < len(line) else blank for i in range(width) for line in lines]
    if cells:
        figure.legend(
            handles=cells, loc="outside lower left", ncols=width, handlelength=1.7,
            columnspacing=1.5, labelspacing=0.45,
        )  # fmt: skip


def plain_axes(axes: Axes) -> None:
    """Take the frame away where lanes speak for themselves."""
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
