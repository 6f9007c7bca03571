"""How does the latency of the chunks develop over the stream, measured and predicted?"""

import math
from collections.abc import Mapping
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamtwin.core.errors import RunError
from streamtwin.core.records import Records
from streamtwin.core.steady import emitted_chunks, steady_window
from streamtwin.reports.figures.drawing import (
    FAINT,
    SOURCE_COLOURS,
    house_style,
    legend_below,
    new_figure,
    to_svg,
)

_MARKERS = {"measured": "o", "simulated": "x"}
_MAX_MARKERS = 120


def latency_svg(runs: Mapping[str, Records]) -> str:
    """Draw the latency of every emitted chunk of the *runs* as SVG.

    Raises:
        RunError: a run has no steady window.
    """
    with house_style():
        return to_svg(latency_figure(runs))


def latency_figure(runs: Mapping[str, Records]) -> Figure:
    """Draw latency in ms over the time of emission; the start is shaded."""
    figure = new_figure(2.7)
    axes = figure.subplots()
    for label, records in runs.items():
        _line(axes, label, records)
    starts_s = [steady_window(records).interval[0] for records in runs.values()]
    axes.axvspan(
        0, max(starts_s), color=FAINT, alpha=0.45, linewidth=0, label="before the steady window"
    )
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.12 * axes.dataLim.y1)
    axes.set_xlabel("emission of the chunk, s since the start of the stream")
    axes.set_ylabel("latency, ms")
    axes.yaxis.grid(visible=True)
    legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


def _line(axes: Axes, label: str, records: Records) -> None:
    steady = steady_window(records)
    done = emitted_chunks(records)
    latency_ms = [1e3 * (chunk.latency_s or 0.0) for chunk in done]
    p50 = median(latency_ms[steady.first : steady.last + 1])
    source = records.info.source
    if not all(math.isfinite(value) for value in latency_ms):
        raise RunError(f"{label}: a chunk has no finite latency")
    axes.plot(
        [chunk.emitted_s or 0.0 for chunk in done],
        latency_ms,
        color=SOURCE_COLOURS[source],
        marker=_MARKERS[source] if len(done) <= _MAX_MARKERS else "",
        markersize=3.5,
        linewidth=1.2,
        linestyle="-" if source == "measured" else "--",
        label=f"{label}, p50 {p50:.0f} ms",
    )
