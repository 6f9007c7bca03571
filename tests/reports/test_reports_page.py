"""Is the page whole in one file, safe against what it is given, and right in what it says?"""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from reports_synthetic import ring_records

from streamtwin.reports.comparison import ValidationResult, compare_runs
from streamtwin.reports.figures import FitPoint, latency_svg, timelines_svg
from streamtwin.reports.page import render_run, render_validation, validation_verdict
from streamtwin.reports.svg_inline import inline_svg

EVIL = "<script>alert('x')</script>\"&"


class _Reader(HTMLParser):
    """Collects tags, attributes and text."""

    VOID = frozenset({"meta", "br", "use", "path", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def _result(name: str = "ring", scale: float = 1.02) -> ValidationResult:
    deployments = tuple(
        compare_runs(
            f"{ranks} GPUs",
            [f"deployment.gpus={ranks}"],
            ring_records("simulated", ranks, name=name),
            [ring_records("measured", ranks, name=name, scale=scale, seed=s) for s in range(3)],
        )
        for ranks in (1, 2)
    )
    return ValidationResult(name, deployments, "Does it hold?", {"host": "host-a"})


POINTS = [
    FitPoint("dit", f"{rows} rows", 8, rows, 0.01 * rows, 0.011 * rows, 0.01 * rows, 0.012 * rows)
    for rows in (1, 2, 4)
]


@pytest.fixture(scope="module")
def validation() -> str:
    return render_validation(_result(), scenario_yaml="name: ring\n", fit_points=POINTS)


@pytest.fixture(scope="module")
def run() -> str:
    return render_run(ring_records("measured", 4, fps=16), scenario_yaml="name: ring\n")


@pytest.fixture(params=["validation", "run"])
def page(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    reader = _read(page)
    assert not {"script", "link", "iframe", "img", "object", "embed"} & set(reader.tags)
    for name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith("#"), (name, value)
        assert "//" not in value
    assert "@import" not in page
    assert "http" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_ids_are_unique_and_references_resolve(page: str) -> None:
    # an id given twice draws one figure with the clips and hatches of another
    reader = _read(page)
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = re.findall(r"url\(#([^)]*)\)", page)
    targets += [value[1:] for name, value in reader.attributes if name == "href"]
    assert targets
    assert set(targets) <= set(ids)


def test_figures_follow_the_theme(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) >= 4
    for figure in figures:
        assert "var(--ink)" in figure
        assert "#24292f" not in figure
        assert "fill: #ffffff; stroke" not in figure


def test_figures_say_what_they_are_to_those_who_cannot_see_them(page: str) -> None:
    for head in re.findall(r"<svg[^>]*>", page):
        assert 'role="img"' in head
        assert re.search(r'aria-label="[^"]{10,}"', head)


def test_a_validation_states_all_its_parts(validation: str) -> None:
    text = " ".join(_read(validation).text)
    for part in (
        "ring: predicted and measured", "Does it hold?", "within their bounds on 2 of 2",
        "1 GPUs", "deployment.gpus=2", "✓ within", "spread, %", "bound, %", "latency p95",
        "Where these numbers come from", "measured: host-a, 2026-01-02",
        "simulated: host-a, 2026-01-02", "Calibration", "point fitted", "Environment",
        "name: ring", "Definitions", "fill and drain",
    ):  # fmt: skip
        assert part in text, part


def test_a_run_states_its_metrics(run: str) -> None:
    text = " ".join(_read(run).text)
    for part in ("Measured: 16.00 frames/s", "TTFF", "busy rank 3", "frames/s", "4 ranks"):
        assert part in text, part


def test_whatever_comes_from_files_is_escaped() -> None:
    result = replace(_result(), name=EVIL)
    records = ring_records("measured", provenance={EVIL: EVIL})
    deployment = replace(result.deployments[0], label=EVIL, overrides=(EVIL,), measured=records)
    evil = replace(result, deployments=(deployment,), question=EVIL, environment={EVIL: EVIL})
    points = [replace(point, family=EVIL) for point in POINTS]
    html = render_validation(evil, scenario_yaml=EVIL, fit_points=points)
    for text in (html, render_run(records, scenario_yaml=EVIL, environment={EVIL: EVIL})):
        reader = _read(text)
        assert "script" not in reader.tags
        assert "<script" not in text
        assert EVIL in " ".join(reader.text)
    assert " ".join(_read(html).text).count(EVIL) >= 9


def test_the_verdict_names_the_worst_prediction() -> None:
    good = _result()
    assert "2 of 2 deployments" in validation_verdict(good)
    bad = compare_runs("the bad one", [], ring_records(), [ring_records("measured", scale=1.5)])
    mixed = ValidationResult("x", (*good.deployments, bad))
    verdict = validation_verdict(mixed)
    assert "2 of 3 deployments" in verdict
    assert "fps on the bad one, +49.2 % (bound 10.0 %)" in verdict
    html = render_validation(ValidationResult("x", (bad,)))
    assert "Outside the bounds" in html
    assert "✗ OUTSIDE" in html


def test_a_missing_number_is_the_worst_of_all() -> None:
    result = _result()
    first = result.deployments[0]
    row = replace(first.rows[0], error=float("nan"), ok=False)
    broken = replace(first, label="broken", rows=(row, *first.rows[1:]))
    result = replace(result, deployments=(*result.deployments, broken))
    assert "fps on broken, n/a %" in validation_verdict(result)


def test_no_deployment_is_said_and_not_a_traceback() -> None:
    result = ValidationResult("empty", ())
    assert "Nothing was compared." in render_validation(result)
    assert not result.ok


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_short_run_gets_a_page_that_says_so(chunks: int) -> None:
    html = render_run(ring_records("measured", chunks=chunks), scenario_yaml="name: ring\n")
    text = " ".join(_read(html).text)
    assert f"{chunks} chunks were emitted: no steady period can be measured" in text
    assert "<svg" not in html
    assert "name: ring" in text
    assert "host-a" in text


def test_the_same_result_gives_the_same_page(validation: str) -> None:
    again = render_validation(_result(), scenario_yaml="name: ring\n", fit_points=POINTS)
    assert again == validation


def test_shortening_a_path_moves_nothing_the_eye_can_see() -> None:
    svg = timelines_svg({"run": ring_records()})
    paths = re.findall(r' d="([^"]*)"', svg)
    short = re.findall(r' d="([^"]*)"', inline_svg(svg, "a"))
    for old, new in zip(paths, short, strict=True):
        numbers = [[float(n) for n in re.findall(r"-?\d+\.?\d*", p)] for p in (old, new)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.011)


def test_unlike_figures_keep_their_ids_apart() -> None:
    records = {"run": ring_records()}
    one, two = (inline_svg(draw(records), "a") for draw in (timelines_svg, latency_svg))
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (one, two)]
    assert not ids[0] & ids[1]
