"""Does the report of a profile show its points, its ceilings and what limits each case?"""

import random
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from test_reports_figures import _cut_texts, _tick_labels
from test_reports_page import EVIL, _read

from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_cases, kernel_cases
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.profile import Profile, make_profile
from streamtwin.cli.profile_view import view_of
from streamtwin.core.ops import DitPass, Hop, VaeEncode
from streamtwin.reports.figures.curves import curves_figure
from streamtwin.reports.figures.drawing import house_style
from streamtwin.reports.figures.pace import pace_figure
from streamtwin.reports.figures.roofline import counted, roofline_figure, roofline_svg
from streamtwin.reports.pace_view import PaceView
from streamtwin.reports.profile_page import render_profile
from streamtwin.reports.profile_tables import profile_tables
from streamtwin.reports.profile_view import (
    CaseView,
    CeilingView,
    FitView,
    ProfileView,
    TermView,
    limit_of,
)

ENVIRONMENT = Environment(
    host="bench", device="cpu of the bench", cpu_model="cpu of the bench", cores=2,
    memory_bytes=2**34, governor="unknown", kernel="6.1", python="3.11.0", torch="2.11.0",
    numpy="2.0.0", date="2026-01-02T03:04:05+00:00",
)  # fmt: skip
CARD = replace(ENVIRONMENT, device="NVIDIA H100 80GB HBM3")


def profile_on(environment=ENVIRONMENT, device: str = "cpu") -> Profile:
    ranks = (1, 2) if device == "cpu" else (1,)
    request = CalibrationRequest(resolution=(160, 256), ranks=ranks, device=device)
    cases = [case for count in ranks for case in kernel_cases(request, count)]
    cases += hop_cases(request, 2) if device == "cpu" else []
    asked = [{"model": "tiny", "device": device}]
    draw = random.Random(0)
    measured = [measurement(case, draw) for case in cases]
    return make_profile("bench", environment, asked, measured)


def measurement(case: Case, draw: random.Random) -> Measurement:
    """Nine times around what such a case would take, after one to warm up."""
    match case.op:
        case DitPass():
            true_s = 8e-4 + case.op.blocks * (9e-4 + 2.6e-5 * case.op.query_tokens)
        case Hop():
            true_s = 7e-4 + 4e-10 * case.op.size_bytes
        case _:
            true_s = 0.1 * case.op.latents
    times = tuple(true_s * (1 + draw.gauss(0, 0.02)) for _ in range(10))
    return Measurement(case, 0, times, (1.0,) * 10)


@pytest.fixture(scope="module")
def on_cpu() -> ProfileView:
    return view_of(profile_on())


@pytest.fixture(scope="module")
def on_card() -> ProfileView:
    return view_of(profile_on(CARD, "cuda"))


def figures(view: ProfileView) -> list[Figure]:
    with house_style():
        return [*map(curves_figure, view.fits), roofline_figure(view)]


def points(axes) -> list[tuple[float, float]]:
    """Where single markers stand."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if len(line.get_xdata()) == 1 and line.get_marker() in ("o", "D", "x")
    ]


def test_the_view_has_every_point_of_every_fit_with_its_interval(on_cpu: ProfileView) -> None:
    profile = profile_on()
    assert len(on_cpu.fits) == len(profile.fits)
    for view, fit in zip(on_cpu.fits, profile.fits, strict=True):
        assert [c.measured_s for c in view.cases] == [p.measured_s for p in fit.points]
        assert [c.predicted_s for c in view.cases] == [p.predicted_s for p in fit.points]
        for case in view.cases:
            assert case.low_s <= case.predicted_s <= case.high_s
            assert sum(share for _, share in case.shares) == pytest.approx(1.0)
        assert {c.held_out for c in view.cases} == {p.held_out for p in fit.points}


def test_a_figure_shows_each_case_once_and_its_error_over_its_prediction(
    on_cpu: ProfileView,
) -> None:
    for fit, figure in zip(on_cpu.fits, figures(on_cpu)[:-1], strict=True):
        left, right = figure.axes
        errors = [(1e3 * c.predicted_s, 100 * c.error) for c in fit.cases]
        assert points(right) == errors
        shown = [case for case in fit.cases if case.on_curve or not fit.axis]
        values = [y if fit.axis else x for x, y in points(left)]
        assert values == pytest.approx([1e3 * case.measured_s for case in shown])
        hollow = [line for line in right.lines if line.get_marker() == "D"]
        assert len(hollow) == sum(case.state == "held out" for case in fit.cases)


def test_a_case_that_the_card_throttled_is_drawn_as_one(on_card: ProfileView) -> None:
    fit = next(one for one in on_card.fits if one.family == "dit")
    place = next(i for i, case in enumerate(fit.cases) if case.flops and case.on_curve)
    cases = list(fit.cases)
    cases[place] = replace(cases[place], throttled=True, stable=True, held_out=False)
    view = replace(on_card, fits=(replace(fit, cases=tuple(cases)),))
    for figure in figures(view):
        axes = figure.axes[-1]
        assert sum(line.get_marker() == "v" for line in axes.lines) == 1
        legends = [*(a.get_legend() for a in figure.axes), *figure.legends]
        words = [text.get_text() for one in legends if one for text in one.get_texts()]
        assert any("throttled" in word for word in words)
    _read(render_profile(view))


def test_curves_are_what_the_fit_predicts(on_cpu: ProfileView) -> None:
    passes = next(fit for fit in on_cpu.fits if fit.family == "dit")
    assert {curve.series for curve in passes.curves} >= {"1 block", "6 blocks"}
    for curve in (curve for fit in on_cpu.fits for curve in fit.curves):
        assert all(a < b for a, b in pairwise(curve.xs))
        assert all(a <= b for a, b in pairwise(curve.mean_s)), "a curve never falls"
        for low_s, mean_s, high_s in zip(curve.low_s, curve.mean_s, curve.high_s, strict=True):
            assert low_s <= mean_s <= high_s
    whole = next(curve for curve in passes.curves if curve.series == "6 blocks")
    case = next(
        c for c in passes.cases if c.label == "6 blocks, 4 x 1 x 160, K 960, embeds+unembeds"
    )
    assert whole.mean_s[whole.xs.index(4)] == pytest.approx(case.predicted_s)


def test_the_roofline_has_every_counted_case_under_the_cards_ceilings(
    on_card: ProfileView, on_cpu: ProfileView
) -> None:
    axes = figures(on_card)[-1].axes[0]
    cases = [case for _, case in counted(on_card.fits)]
    assert len(cases) > 20
    assert points(axes) == [(case.intensity, case.flops_per_s) for case in cases]
    roofs = [line for line in axes.lines if len(line.get_xdata()) > 100]
    # the vendor's data sheet of an H100 SXM: 989 TFLOP/s bf16, 3.35 TB/s
    assert max(roofs[0].get_ydata()) == pytest.approx(989e12)
    assert roofs[0].get_ydata()[0] == pytest.approx(3.35e12 * roofs[0].get_xdata()[0])
    assert on_card.ridge == pytest.approx(989e12 / 3.35e12)
    assert axes.get_xlim()[0] < on_card.ridge < axes.get_xlim()[1]
    bare = figures(on_cpu)[-1].axes[0]
    assert not [line for line in bare.lines if len(line.get_xdata()) > 1]
    assert "ceilings are not known" in bare.get_title(loc="left")


def test_no_text_is_cut_and_no_tick_labels_overlap(
    on_card: ProfileView, on_cpu: ProfileView
) -> None:
    for figure in (*figures(on_card), *figures(on_cpu)):
        with house_style():
            assert _cut_texts(figure) == []
            for axes in figure.axes:
                for labels in _tick_labels(axes):
                    boxes = [label.get_window_extent() for label in labels]
                    assert not [1 for a, b in pairwise(boxes) if a.overlaps(b)]


def test_nothing_counted_draws_no_roofline(on_cpu: ProfileView) -> None:
    hops = replace(on_cpu, fits=tuple(f for f in on_cpu.fits if f.family == "hop"))
    assert roofline_svg(hops) is None
    _read(render_profile(hops))


@pytest.mark.parametrize("kind", ["on_card", "on_cpu"])
def test_the_page_is_whole_in_one_file_and_says_where_numbers_come_from(
    kind: str, request: pytest.FixtureRequest
) -> None:
    view = request.getfixturevalue(kind)
    page = render_profile(view)
    reader = _read(page)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(reader.tags)
    assert "http" not in page
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = re.findall(r"url\(#([^)]*)\)", page)
    targets += [value[1:] for name, value in reader.attributes if name == "href"]
    assert set(targets) <= set(ids)
    text = " ".join(reader.text)
    assert text.count(view.fits[0].provenance) >= len(view.fits)
    assert reader.tags.count("svg") == len(view.fits) + 1
    for fit in view.fits:
        for case in fit.cases:
            assert case.label in text
    for one in view.ceilings:
        assert one.source in text
    assert ("No ceiling of this device is known" in text) is (kind == "on_cpu")


def test_a_name_cannot_break_out_of_the_page(on_cpu: ProfileView) -> None:
    page = render_profile(replace(on_cpu, name=EVIL, environment={"host": EVIL}))
    assert "<script" not in page
    assert EVIL in "".join(_read(page).text)


def test_tables_have_a_row_for_every_parameter_and_case(on_cpu: ProfileView) -> None:
    _, *tables = profile_tables(on_cpu)
    sizes = [size for fit in on_cpu.fits for size in (len(fit.terms), len(fit.cases))]
    assert [table.row_count for table in tables] == sizes


def case_of(shares: dict[str, float], **changes: object) -> CaseView:
    plain = CaseView(
        "case", "", 1, 1.0, 1.0, 0.9, 1.1, held_out=False, stable=True, times=5,
        flops=1e15, bytes=1e12, shares=tuple(shares.items()),
    )  # fmt: skip
    return replace(plain, **changes)


H100 = (
    CeilingView("sheet", "s", flops_per_s=989e12),
    CeilingView("memory", "s", bytes_per_s=3.35e12),
)
RIDGE = 989e12 / 3.35e12
WORK = {"pass": 0.1, "block_tokens": 0.6, "block_pairs": 0.3}


@pytest.mark.parametrize(
    ("case", "ceilings", "what", "why"),
    [
        (case_of(WORK), H100, "compute", "block_tokens: 60 %.*1000 FLOP/B, ridge 295; 101 %"),
        (case_of(WORK, bytes=1e13), H100, "memory", "100 FLOP/B, ridge 295"),
        (case_of({"blocks": 0.4, "pass": 0.2, "block_tokens": 0.4}), H100, "launch floor", "60 %"),
        (case_of({"block_flops": 1.0}, floor=True), H100, "launch floor", "below the floor"),
        (case_of(WORK), (), "compute or memory", "ceilings are not known"),
        (case_of({"480 x 832": 1.0}), H100, "compute", "one time for the whole operation"),
        (case_of({"480 x 832": 1.0}, flops=None), H100, "not known", "not counted"),
        (case_of({"tag": 0.2, "bytes": 0.8}, flops=None, bytes=None), H100, "bytes", "80 %"),
        (case_of({"tag": 0.8, "bytes": 0.2}, flops=None, bytes=None), (), "fixed cost", "80 %"),
    ],
)
def test_what_limits_a_case_follows_from_its_terms_and_its_intensity(
    case: CaseView, ceilings: tuple[CeilingView, ...], what: str, why: str
) -> None:
    limit = limit_of(case, ceilings, RIDGE if ceilings else None)
    assert limit.what == what
    assert re.search(why, limit.why), limit.why


def test_held_out_cases_inside_their_intervals_are_counted(on_cpu: ProfileView) -> None:
    fit: FitView = next(one for one in on_cpu.fits if one.family == "dit")
    tested = {case.label for case in fit.cases if case.held_out}
    assert fit.coverage is not None
    assert fit.coverage[1] == len(tested)
    assert 0 < fit.coverage[0] <= len(tested)
    assert next(one for one in on_cpu.fits if one.family == "encode").coverage is None


def test_parameters_have_units() -> None:
    units = {name: TermView(name, 1.0, None).unit for name in ("pass", "block_pairs", "bytes", "x")}
    assert units == {"pass": "s/pass", "block_pairs": "s/(block pair)", "bytes": "s/B", "x": "s"}


def test_labels_are_of_the_operations(on_card: ProfileView) -> None:
    ops = [p.op for fit in profile_on(CARD, "cuda").fits for p in fit.points]
    labels = [case.label for fit in on_card.fits for case in fit.cases]
    for op, label in zip(ops, labels, strict=True):
        if isinstance(op, DitPass):
            assert label.startswith(f"{op.blocks} block")
            assert ("embeds" in label.replace("unembeds", "")) is op.embeds
        if isinstance(op, VaeEncode):
            assert label.endswith(", first") is op.first


def test_the_pace_of_the_host_is_drawn_as_it_was(on_cpu: ProfileView) -> None:
    one = PaceView(1, 0.5, ((1.0, 1.5, 0.75),))
    two = PaceView(2, 0.2, ((1.0, 1.5), (1.0, 1.25)))
    with house_style():
        figure = pace_figure((one, two))
    steps = [patch.get_data() for axes in figure.axes for patch in axes.patches]
    assert [list(step.values) for step in steps] == [[1.0, 1.5, 0.75], [1.0, 1.5], [1.0, 1.25]]
    assert [step.edges[-1] for step in steps] == pytest.approx([1.5, 0.4, 0.4])
    page = render_profile(replace(on_cpu, paces=(one, two)))
    _read(page)
    assert "2 ranks compute: 50.0 % longer than on average, or more" in page
    assert "Pace of the host" not in render_profile(on_cpu)
