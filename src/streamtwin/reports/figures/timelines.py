"""What does every rank do when, measured above simulated on one axis of time?"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from streamtwin.core.bubbles import Bubble, rank_times
from streamtwin.core.intervals import Interval
from streamtwin.core.records import SERVICES, Records, Span
from streamtwin.core.steady import emitted_chunks, steady_window
from streamtwin.reports.figures.drawing import (
    CAUSE_STYLES,
    EDGE,
    INK,
    SERVICE_COLOURS,
    WIDTH_IN,
    cause_patch,
    house_style,
    in_order,
    legend_below,
    new_figure,
    plain_axes,
    service_patch,
    to_svg,
)

CHUNKS = 8
"""Chunks that a window shows."""

Part = Literal["steady", "start"]
_SERVICE_HEIGHT, _IDLE_HEIGHT, _HOP_HEIGHT = 0.78, 0.46, 0.10
_DIGIT_IN = 0.06


def timelines_svg(runs: Mapping[str, Records], part: Part = "steady") -> str:
    """Draw a *part* of the *runs*, one above the other, as SVG.

    Raises:
        RunError: a run has no steady window.
    """
    with house_style():
        return to_svg(timelines_figure(runs, part))


def timelines_figure(runs: Mapping[str, Records], part: Part = "steady") -> Figure:
    """Draw a lane per rank; time 0 is the same event in every run."""
    windows = _windows(runs, part)
    lanes = [len(records.info.ranks) for records in runs.values()]
    figure = new_figure(1.25 + sum(0.38 * count + 0.3 for count in lanes))
    stack = figure.subplots(len(lanes), 1, sharex=True, squeeze=False, height_ratios=lanes)
    shown: set[str] = set()
    for axes, (label, records) in zip(stack[:, 0], runs.items(), strict=True):
        shown |= _timeline(axes, records, windows[label])
        axes.set_title(label)
    stack[-1, 0].set_xlabel(_axis_label(part, runs))
    services = [service_patch(service) for service in SERVICES if service in shown]
    hop = [Line2D([], [], color=INK, linewidth=3, label="hop")] if "hop" in shown else []
    legend_below(figure, [*services, *hop], [cause_patch(cause) for cause in in_order(shown)])
    return figure


def _windows(runs: Mapping[str, Records], part: Part) -> dict[str, Interval]:
    """Give each run its window: the same length, from the same event."""
    periods = [_period_s(records) for records in runs.values()]
    if part == "steady":
        chunk = _anchor(runs)
        begins = {label: _emission_s(records, chunk) for label, records in runs.items()}
        length_s = CHUNKS * max(periods)
    else:
        begins = dict.fromkeys(runs, 0.0)
        first_s = [_emission_s(records, 0) for records in runs.values()]
        length_s = max(first_s) + CHUNKS / 2 * max(periods)
    return {label: (began_s, began_s + length_s) for label, began_s in begins.items()}


def _anchor(runs: Mapping[str, Records]) -> int:
    """Position, among the emitted, of the first chunk that every run emits in steady state.

    A run that ends before the others are steady is shown from its last chunk.
    """
    last = min(len(emitted_chunks(records)) for records in runs.values()) - 1
    return min(last, max(steady_window(records).first for records in runs.values()))


def _emission_s(records: Records, position: int) -> float:
    return emitted_chunks(records)[position].emitted_s or 0.0


def _period_s(records: Records) -> float:
    steady = steady_window(records)
    return (steady.interval[1] - steady.interval[0]) / (steady.last - steady.first)


def _axis_label(part: Part, runs: Mapping[str, Records]) -> str:
    if part == "start":
        return "time since the start of the stream, ms"
    position = _anchor(runs)
    numbers = {emitted_chunks(records)[position].chunk for records in runs.values()}
    # after a drop, the chunk that leaves at one position need not be the same in both runs
    since = f"chunk {numbers.pop()}" if len(numbers) == 1 else f"output {position}"
    return f"time since the emission of {since}, ms"


def _timeline(axes: Axes, records: Records, window: Interval) -> set[str]:
    """Draw one run; return the services and causes that appear."""
    steady = steady_window(records).interval
    inside = [s for s in records.spans if s.began_s < window[1] and s.ended_s > window[0]]
    bubbles = [
        bubble
        for time in rank_times(records, steady)
        for bubble in time.bubbles
        if bubble.began_s < window[1] and bubble.ended_s > window[0]
    ]
    shown = _idle(axes, bubbles, window) | _services(axes, inside, window)
    hops = [span for span in inside if span.kind == "hop"]
    if hops:
        boxes = _boxes(hops, window, _HOP_HEIGHT)
        boxes.set(facecolor=INK, linewidth=0)
        axes.add_patch(boxes)
    ranks = [info.rank for info in records.info.ranks]
    axes.set_xlim(0, 1e3 * (window[1] - window[0]))
    axes.set_ylim(max(ranks) + 0.55, -0.55)
    axes.set_yticks(ranks, [f"rank {rank}" for rank in ranks])
    plain_axes(axes)
    return shown | ({"hop"} if hops else set())


def _idle(axes: Axes, bubbles: list[Bubble], window: Interval) -> set[str]:
    causes = {bubble.cause for bubble in bubbles}
    for cause in causes:
        colour, hatch = CAUSE_STYLES[cause]
        pieces = [bubble for bubble in bubbles if bubble.cause == cause]
        boxes = _boxes(pieces, window, _IDLE_HEIGHT)
        boxes.set(facecolor=colour, edgecolor=EDGE, linewidth=0.3, hatch=hatch)
        axes.add_patch(boxes)
    return causes


def _services(axes: Axes, spans: list[Span], window: Interval) -> set[str]:
    kinds = {span.kind for span in spans if span.kind in SERVICES}
    for kind in kinds:
        pieces = [span for span in spans if span.kind == kind]
        colour = SERVICE_COLOURS[kind]
        boxes = _boxes(pieces, window, _SERVICE_HEIGHT)
        boxes.set(facecolor=colour, edgecolor="white", linewidth=0.4)
        axes.add_patch(boxes)
    _number(axes, [span for span in spans if span.kind == "dit"], window)
    return set(kinds)


def _boxes(pieces: Iterable[Span | Bubble], window: Interval, height: float) -> PathPatch:
    corners = []
    for piece in pieces:
        left, right = _within(piece, window)
        top, bottom = piece.rank - height / 2, piece.rank + height / 2
        corners.append([(left, top), (right, top), (right, bottom), (left, bottom)])
    return PathPatch(Path.make_compound_path_from_polys(np.array(corners)))


def _number(axes: Axes, passes: list[Span], window: Interval) -> None:
    """Write the chunk's number into every pass that is wide enough for the longest of them."""
    per_ms_in = 0.85 * WIDTH_IN / (1e3 * (window[1] - window[0]))
    digits = max((len(str(span.chunk)) for span in passes), default=0)
    for span in passes:
        left, right = _within(span, window)
        if (right - left) * per_ms_in > _DIGIT_IN * digits + 0.015:
            axes.text(
                (left + right) / 2, span.rank, str(span.chunk), color="white", fontsize=7,
                ha="center", va="center",
            )  # fmt: skip


def _within(piece: Span | Bubble, window: Interval) -> Interval:
    began_s, ended_s = max(piece.began_s, window[0]), min(piece.ended_s, window[1])
    return 1e3 * (began_s - window[0]), 1e3 * (ended_s - window[0])
