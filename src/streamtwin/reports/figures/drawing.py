"""Which colours, fonts and frames do all figures share, and how does one become SVG?"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from streamtwin.core.bubbles import CAUSES
from streamtwin.core.records import SERVICES

INK = "#24292f"
"""Text, axes and edges; a page may put its own colour in its place."""
FAINT = "#c9ced6"
"""Grid lines; likewise."""
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
        "fill_drain": ("#cdbbe9", "...."),
        "rebalancing": ("#aaaa00", "++++"),
        "policy_wait": ("#44bb99", "oooo"),
    }
)
SOURCE_COLOURS: Mapping[str, str] = MappingProxyType(
    {"measured": "#4477aa", "simulated": "#ee7733"}
)

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
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
    "hatch.color": "#57606a",
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
        mpl.rcParams.update({**mpl.rcParamsDefault, "backend": mpl.rcParams["backend"], **_STYLE})
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
    return Patch(facecolor=SERVICE_COLOURS[service], label=service)


def cause_patch(cause: str) -> Patch:
    """Legend entry of a cause of idle time."""
    colour, hatch = CAUSE_STYLES[cause]
    label = f"idle: {cause.replace('_', ' ')}"
    return Patch(facecolor=colour, hatch=hatch, edgecolor="#57606a", linewidth=0.4, label=label)


def in_order(causes: set[str]) -> list[str]:
    """Sort *causes* as the vocabulary lists them."""
    return [cause for cause in CAUSES if cause in causes]


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 5) -> None:
    """Put one legend for all axes under the figure."""
    figure.legend(
        handles=list(handles), loc="outside lower left", ncols=min(columns, len(handles)),
        handlelength=1.6, columnspacing=1.6,
    )  # fmt: skip


def plain_axes(axes: Axes) -> None:
    """Take the frame away where lanes speak for themselves."""
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
