"""Do the figures show what the records hold?"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from itertools import pairwise

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.text import Text
from reports_synthetic import ring_records

from streamtwin.core.bubbles import CAUSES
from streamtwin.core.errors import CalibrationError, RunError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import SERVICES, Records
from streamtwin.reports.figures import (
    FitPoint,
    bubbles_svg,
    fit_svg,
    latency_svg,
    timelines_svg,
)
from streamtwin.reports.figures.bubbles import bubbles_figure
from streamtwin.reports.figures.drawing import CAUSE_STYLES, SERVICE_COLOURS, house_style
from streamtwin.reports.figures.fit import fit_figure
from streamtwin.reports.figures.latency import latency_figure
from streamtwin.reports.figures.timelines import CHUNKS, timelines_figure
from streamtwin.reports.words import CAUSES as CAUSE_WORDS
from streamtwin.reports.words import cause_name


def _runs(ranks: int = 2, fps: float | None = None) -> dict[str, Records]:
    return {
        "measured": ring_records("measured", ranks, jitter=0.1, fps=fps, scale=1.05),
        "simulated": ring_records("simulated", ranks, fps=fps),
    }


def _point(**changes: object) -> FitPoint:
    values = {
        "family": "dit", "label": "8 blocks", "blocks": 8, "rows": 1,
        "measured_s": 0.010, "predicted_s": 0.011, "low_s": 0.010, "high_s": 0.012,
    }  # fmt: skip
    return FitPoint(**(values | changes))  # type: ignore[arg-type]


def _legend(figure: Figure) -> list[str]:
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [text for text in texts if text.strip()]


def _rectangles(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("fps", [None, 16.0])
def test_bars_sum_to_the_idle_share_of_each_rank(ranks: int, fps: float | None) -> None:
    metrics = {label: compute_metrics(run) for label, run in _runs(ranks, fps).items()}
    with house_style():
        figure = bubbles_figure(metrics)
    totals: dict[float, float] = {}
    for bar in _rectangles(figure.axes[0]):
        middle = round(bar.get_y() + bar.get_height() / 2, 6)
        totals[middle] = totals.get(middle, 0.0) + bar.get_width()
    expected = [
        100 * metrics[label]["ranks"][rank]["idle_s"] / metrics[label]["ranks"][rank]["span_s"]
        for rank in range(ranks)
        for label in metrics
    ]
    assert [totals[at] for at in sorted(totals)] == pytest.approx(expected)


def test_bars_have_the_length_and_colour_of_their_cause() -> None:
    metrics = compute_metrics(ring_records(ranks=2))
    with house_style():
        figure = bubbles_figure({"simulated": metrics})
    causes = {colour: cause for cause, (colour, _) in CAUSE_STYLES.items()}
    bars = _rectangles(figure.axes[0])
    assert len(bars) == sum(s > 0 for rank in metrics["ranks"] for s in rank["bubbles"].values())
    for bar in bars:
        rank = round(bar.get_y() + bar.get_height() / 2) and 1
        cause = causes[mpl.colors.to_hex(bar.get_facecolor())]
        share = metrics["ranks"][rank]["bubbles"][cause] / metrics["ranks"][rank]["span_s"]
        assert bar.get_width() == pytest.approx(100 * share)


@pytest.mark.parametrize("part", ["steady", "start"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_causes_and_services_are_in_the_legend_only_if_present(part: str, ranks: int) -> None:
    with house_style():
        figure = timelines_figure(_runs(ranks, 16.0), part)  # type: ignore[arg-type]
        bubbles = bubbles_figure({"run": compute_metrics(ring_records(ranks=ranks))})
    drawn = {
        mpl.colors.to_hex(patch.get_facecolor())
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, PathPatch)
    }
    named = set(_legend(figure))
    for cause, (colour, _) in CAUSE_STYLES.items():
        assert (f"idle: {cause_name(cause)}" in named) is (colour in drawn)
    for service in SERVICES:
        assert SERVICE_COLOURS[service] in drawn
    assert ("hop" in named) is (ranks > 1)
    assert "idle: policy wait" not in _legend(bubbles)


def test_both_runs_share_one_axis_of_eight_periods_from_the_same_chunk() -> None:
    runs = _runs()
    with house_style():
        figure = timelines_figure(runs)
    upper, lower = figure.axes
    assert upper.get_title(loc="left") == "measured"
    assert upper.get_xlim() == lower.get_xlim()
    periods = [compute_metrics(run)["period_s"] for run in runs.values()]
    assert upper.get_xlim()[1] == pytest.approx(1e3 * CHUNKS * max(periods))
    assert lower.get_xlabel() == "time since the emission of chunk 4, ms"


def _areas(figure: Figure, colours: Mapping[str, str]) -> float:
    """Add up the drawn time of some colours, in ms."""
    total = 0.0
    for patch in figure.axes[0].patches:
        if isinstance(patch, PathPatch) and (
            mpl.colors.to_hex(patch.get_facecolor()) in colours.values()
        ):
            for polygon in patch.get_path().to_polygons():
                total += polygon[:, 0].max() - polygon[:, 0].min()
    return total


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_services_and_idle_time_fill_every_lane_of_a_steady_window(ranks: int) -> None:
    with house_style():
        figure = timelines_figure({"run": ring_records(ranks=ranks, chunks=60)})
    window_ms = figure.axes[0].get_xlim()[1]
    idle = {cause: colour for cause, (colour, _) in CAUSE_STYLES.items()}
    filled = _areas(figure, SERVICE_COLOURS) + _areas(figure, idle)
    assert filled == pytest.approx(ranks * window_ms)


def test_latency_lines_are_the_chunks_latencies() -> None:
    runs = _runs(fps=16.0)
    with house_style():
        figure = latency_figure(runs)
    for line, records in zip(figure.axes[0].lines, runs.values(), strict=True):
        assert list(line.get_ydata()) == [1e3 * (c.latency_s or 0) for c in records.chunks]
        assert list(line.get_xdata()) == [c.emitted_s for c in records.chunks]


def test_fit_shows_states_families_and_series() -> None:
    points = [
        _point(),
        _point(rows=2, held_out=True),
        _point(rows=4, stable=False),
        _point(rows=1, ranks=2),
        _point(rows=2, ranks=2),
        _point(family="hop", blocks=0, rows=0, predicted_s=0.02),
    ]
    with house_style():
        figure = fit_figure(points)
    names = _legend(figure)
    for expected in (
        "point fitted", "point held out", "point unstable", "± 10 %", "predicted = measured",
        "DiT", "hop", "DiT, 8 blocks", "DiT, 8 blocks, 2 ranks",
    ):  # fmt: skip
        assert names.count(expected) == 1
    errors = figure.axes[1]
    assert errors.get_ylim()[1] > 100  # the hop is 100 % off and must be in the picture


def _tick_labels(axes: Axes) -> list[list[Text]]:
    """Tick labels inside the axes' limits, along x and along y."""
    (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    return [
        [
            t
            for t in axes.get_xticklabels()
            if t.get_text() and left <= t.get_position()[0] <= right
        ],
        [t for t in axes.get_yticklabels() if t.get_text() and low <= t.get_position()[1] <= high],
    ]


def _cut_texts(figure: Figure) -> list[str]:
    """Texts that the edge of the figure cuts."""
    figure.draw_without_rendering()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += [text for labels in _tick_labels(axes) for text in labels]
    edge = figure.bbox.padded(1)
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [
        text
        for text, box in boxes
        if not (edge.x0 <= box.x0 and box.x1 <= edge.x1)
        or not (edge.y0 <= box.y0 and box.y1 <= edge.y1)
    ]


@pytest.fixture(scope="module")
def crowded() -> list[Figure]:
    """Every figure at its fullest: 8 ranks, many causes, many series."""
    runs = _runs(8, 16.0)
    metrics = {label: compute_metrics(run) for label, run in runs.items()}
    for run in metrics.values():
        for rank in run["ranks"]:
            rank["bubbles"] = dict.fromkeys(CAUSES, 0.5)
    points = [
        _point(blocks=blocks, rows=rows, ranks=ranks, held_out=rows == 2, stable=rows != 4)
        for blocks in (8, 15, 30) for rows in (1, 2, 4) for ranks in (1, 2)
    ]  # fmt: skip
    points += [_point(family=f, blocks=0, rows=0) for f in ("encode", "decode", "hop", "prepare")]
    with house_style():
        return [
            timelines_figure(runs), timelines_figure(runs, "start"), bubbles_figure(metrics),
            latency_figure(runs), fit_figure(points),
        ]  # fmt: skip


def test_no_text_is_cut_at_the_edge_of_a_figure(crowded: list[Figure]) -> None:
    with house_style():
        for figure in crowded:
            assert _cut_texts(figure) == []


def test_no_two_tick_labels_overlap(crowded: list[Figure]) -> None:
    with house_style():
        for figure in crowded:
            figure.draw_without_rendering()
            for axes in figure.axes:
                for labels in _tick_labels(axes):
                    boxes = [label.get_window_extent() for label in labels]
                    assert not [1 for a, b in pairwise(boxes) if a.overlaps(b)]


def test_fit_without_rows_or_states_shows_neither() -> None:
    with house_style():
        figure = fit_figure([_point(family="encode", blocks=0, rows=0)])
    assert len(figure.axes) == 2
    assert not {"point held out", "point unstable"} & set(_legend(figure))


def test_no_points_and_times_that_are_none_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no calibration points"):
        fit_svg([])
    with pytest.raises(CalibrationError, match="8 blocks"):
        fit_svg([_point(measured_s=0.0)])


@pytest.mark.parametrize("draw", [timelines_svg, latency_svg])
@pytest.mark.parametrize("chunks", [0, 2])
def test_a_run_too_short_says_so(draw: object, chunks: int) -> None:
    with pytest.raises(RunError, match=f"{chunks} chunks were emitted"):
        draw({"run": ring_records(chunks=chunks)})  # type: ignore[operator]


def test_a_run_of_three_chunks_is_drawn() -> None:
    runs = {"run": ring_records(ranks=4, chunks=3)}
    for svg in (timelines_svg(runs), timelines_svg(runs, "start"), latency_svg(runs)):
        ET.fromstring(svg)


def test_runs_of_unlike_length_and_ranks_are_drawn() -> None:
    runs = {"a": ring_records(ranks=4, chunks=60), "b": ring_records(ranks=2, chunks=4)}
    ET.fromstring(timelines_svg(runs))
    ET.fromstring(bubbles_svg({label: compute_metrics(run) for label, run in runs.items()}))


def test_every_figure_is_the_same_text_each_time_and_leaves_no_trace() -> None:
    runs = _runs()
    metrics = {label: compute_metrics(run) for label, run in runs.items()}
    for draw in (
        lambda: timelines_svg(runs),
        lambda: bubbles_svg(metrics),
        lambda: latency_svg(runs),
        lambda: fit_svg([_point(), _point(rows=2)]),
    ):
        plain = draw()
        with mpl.rc_context({"font.size": 17, "svg.fonttype": "path"}):
            theirs = dict(mpl.rcParams)
            assert draw() == plain
            assert dict(mpl.rcParams) == theirs


def test_labels_are_text_in_the_figure() -> None:
    root = ET.fromstring(timelines_svg({"<b>&$x$": ring_records()}))
    assert "<b>&$x$" in [element.text for element in root.iter() if element.tag.endswith("text")]


def test_every_cause_has_a_style_of_its_own_and_words() -> None:
    assert set(CAUSE_STYLES) == set(CAUSE_WORDS) == set(CAUSES)
    assert len(set(CAUSE_STYLES.values())) == len(CAUSES)
    assert len({colour for colour, _ in CAUSE_STYLES.values()}) == len(CAUSES)
