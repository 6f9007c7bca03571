"""`validate --published`: results of whole pipelines that no profile was fitted to."""

import json
import math
from pathlib import Path

import pytest
from test_reports_page import _read

from streamtwin.calibrate.locate import shipped_profiles
from streamtwin.calibrate.published_rows import read_rows
from streamtwin.cli import main
from streamtwin.core.checks import publication, publications
from streamtwin.core.library import find_scenario
from streamtwin.reports.figures.drawing import house_style
from streamtwin.reports.figures.published_cells import frame_rates_figure
from streamtwin.reports.published_cells import CellView, PublishedView

SDV2 = publication("sdv2")


def validate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["validate", *arguments])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("published")
    with pytest.raises(SystemExit) as end:
        main(["validate", "--published", "sdv2", "--out", str(folder), "--check"])
    assert not end.value.code, "the bounds are kept"
    page = (folder / "report.html").read_text()
    return {"page": page, **json.loads((folder / "validation.json").read_text())}


def test_the_twin_meets_frame_rates_that_it_has_not_seen(document: dict) -> None:
    rates = [one for one in document["cells"] if one["metric"] == "fps"]
    assert {one["gpus"] for one in rates} == {2, 3, 4}
    assert len(rates) == 24
    errors = [abs(one["predicted"] / one["value"] - 1) for one in rates]
    assert errors == pytest.approx([abs(one["error"]) for one in rates])
    assert sum(errors) / len(errors) < 0.03
    assert max(errors) < 0.08
    first = [one for one in document["cells"] if one["metric"] == "first_frame_s"]
    assert [one["source_fps"] for one in first] == [16, 30]
    assert all(abs(one["error"]) < 0.05 for one in first)
    assert document["ok"] is True


def test_the_blocks_of_the_figure_follow(document: dict) -> None:
    passes = [one for one in document["cells"] if one["metric"] == "pass_s"]
    assert [one["blocks"] for one in passes] == [4, 13, 13, 0]
    assert all(one["note"].startswith("blocks 4/13/13/0,") for one in passes)
    assert all(abs(one["error"]) < 0.06 for one in passes if one["value"])


def test_every_cell_says_whose_service_times_it_has(document: dict) -> None:
    for one in document["cells"]:
        said = one["provenance"].split("; ")
        assert said[0] == "published"
        assert "first decode assumed" in said
        assert ("hop assumed" in said) is (one["gpus"] > 1)
        assert ("decode assumed" in said) is (one["resolution"] == [512, 512])
        low, high = one["interval"]
        assert low <= one["predicted"] <= high
    inside = [
        one for one in document["cells"] if one["interval"][0] <= one["value"] <= one["interval"][1]
    ]
    assert document["inside_intervals"] == [len(inside), len(document["cells"])]


def test_no_profile_was_fitted_to_a_cell() -> None:
    own = {
        (cell.model, tuple(cell.resolution), cell.steps, cell.value)
        for cell in SDV2.cells
        if cell.metric == "fps"
    }
    for figures in shipped_profiles().glob("*/published.csv"):
        for row in read_rows(figures):
            assert (row.model, tuple(row.resolution), row.steps, row.value) not in own
    assert all(cell.gpus > 1 for cell in SDV2.cells if cell.metric != "first_frame_s")


def test_the_page_has_every_cell_and_nothing_from_elsewhere(document: dict) -> None:
    reader = _read(document["page"])
    assert not {"script", "link", "iframe", "img"} & set(reader.tags)
    text = " ".join(reader.text)
    for cell in SDV2.cells:
        assert cell.label in text
    assert "kept" in text
    assert document["page"].count("<tr>") == 1 + len(SDV2.cells)


def test_the_picture_has_a_point_for_each_published_frame_rate() -> None:
    cells = [cell for cell in SDV2.cells if cell.metric == "fps"]
    views = tuple(CellView(one, one.value, 0.9 * one.value, 1.1 * one.value, "") for one in cells)
    with house_style():
        figure = frame_rates_figure(PublishedView(SDV2, "p", views))
    drawn = [
        value
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == "D"
        for value in line.get_ydata()
    ]
    assert drawn == [cell.value for cell in cells]


@pytest.mark.parametrize("name", publications())
def test_every_publication_s_cells_are_deployments_of_its_scenario(name: str) -> None:
    found = publication(name)
    assert found.name == name
    for cell in found.cells:
        deployment = find_scenario(found.scenario, cell.overrides).deployment
        assert (deployment.gpus, deployment.steps) == (cell.gpus, cell.steps)
        assert deployment.stream_batch is cell.stream_batch
        assert (cell.rank is not None) == (cell.metric == "pass_s")
        assert (cell.source_fps is not None) == (cell.metric == "first_frame_s")


def test_a_bound_that_is_broken_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Another card's service times miss the frame rates of this one."""
    asked = ("--published", "sdv2", "--check", "--json", "--set", "profile=a100-sxm-derived")
    status, out, _ = validate(capsys, *asked)
    assert status == 1
    told = json.loads(out)
    assert told["ok"] is False
    assert not all(one["kept"] for one in told["bounds"])
    assert all(math.isfinite(one["predicted"]) for one in told["cells"])


MISTAKES = {
    ("--published", "nobody"): "unknown publication 'nobody'",
    ("--published", "sdv2", "cpu-tiny"): "brings its own scenario",
    ("--published", "sdv2", "--input", "x.mp4"): "--published runs nothing",
    ("--published", "sdv2", "--suite"): "give one of the two",
    ("--published", "sdv2", "--set", "deployment.gpus=2"): "choose profile, extrapolate",
    ("--published", "sdv2", "--set", "deployment.gpu=2"): "deployment.gpu",
    ("--published", "sdv2", "--set", "deployment.replicas=2"): "says for every cell what runs",
    ("--published", "sdv2", "--set", "workload.sessions=2"): "says for every cell what runs",
    ("--published", "sdv2", "--set", "workload.chunks=12"): "lengthen workload.chunks",
    ("--published", "sdv2", "--device", "cuda"): "--published runs nothing",
    (): "give a SCENARIO, --suite, or --published NAME",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_ends_with_one_message(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    status, out, err = validate(capsys, *arguments, "--out", str(tmp_path / "none"))
    assert status == 2
    assert MISTAKES[arguments] in err
    assert out == ""
    assert "Traceback" not in err
