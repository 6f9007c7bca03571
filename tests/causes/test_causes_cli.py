"""What people and programs get of cycles, scatter and gains: tables, JSON, files and pages."""

import json

import pytest

from streamtwin.cli import main
from streamtwin.core.errors import ScenarioError
from streamtwin.core.scenario_file import parse_scenario

SHORT = [
    "sdv2-1.3b-480p",
    "--set",
    "deployment.partition={policy: even}",
    "--set",
    "workload.chunks=40",
    "--set",
    "deployment.steps=2",
]


def told(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return captured


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs with replications, the second with an overlapping protocol."""
    base = tmp_path_factory.mktemp("runs")
    more = ["--set", "replications=3"]
    for name, own in (("a", ["--sensitivity"]), ("b", ["--set", "deployment.protocol=overlap"])):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", *SHORT, *more, *own, "--out", str(base / name)])
        assert ended.value.code == 0
    return base


def test_metrics_have_cycle_scatter_intervals_and_gains(folders):
    metrics = json.loads((folders / "a" / "metrics.json").read_text())
    cycle = metrics["critical_cycle"]
    assert cycle["text"] == "dit on rank 3 -> decode on rank 3 -> hop 2 to 3"
    assert cycle["period_s"] == pytest.approx(metrics["period_s"], abs=1e-9)
    names = {
        "fps", "period_s", "ttff_s", "latency_s p50", "latency_s p95", "deadline_miss_rate",
    }  # fmt: skip
    assert set(metrics["intervals"]) == names
    low, high = metrics["intervals"]["fps"]
    assert low < metrics["fps"] < high
    replications = metrics["replications"]
    assert set(replications["figures"]) == set(replications["values"]) == names
    assert replications["count"] == len(replications["values"]["fps"]) == 3
    assert (replications["method"], replications["confidence"]) == ("Student's t", 0.95)
    assert "not how wrong the calibration may be" in replications["covers"]
    gains = {gain["what"]: gain for gain in metrics["sensitivity"]["gains"]}
    assert gains["decode"]["fps_change"] > 0.05 > gains["encode"]["fps_change"]
    assert gains["rank 3"]["closed_period_s"] == pytest.approx(
        gains["rank 3"]["period_s"], rel=1e-6
    )


def test_the_page_shows_them_and_a_later_report_does_too(folders, capsys):
    before = (folders / "a" / "report.html").read_text()
    out = told(capsys, "report", str(folders / "a")).out
    after = (folders / "a" / "report.html").read_text()
    for text in ("What sets the pace", "Links, busy and idle", "3 replications", "Sensitivity"):
        assert text in before
        assert text in after
    for text in ("what sets the pace", "links, busy and idle", "3 replications", "sensitivity"):
        assert text in out
    assert "where 90 of 100 runs lie" in out


def test_two_simulated_runs_are_compared_in_pairs(folders, capsys):
    a, b = str(folders / "a"), str(folders / "b")
    pairs = json.loads(told(capsys, "compare", a, b, "--json").out)["paired"]
    assert pairs["fps"]["paired"]["mean"] > 0
    assert pairs["period_s"]["paired"]["mean"] < 0
    assert "paired replications" in told(capsys, "compare", a, b).out


def test_replications_are_asked_for_on_the_command_line_too(capsys):
    captured = told(capsys, "simulate", *SHORT, "--replications", "2", "--json")
    assert json.loads(captured.out)["replications"]["count"] == 2
    assert "replications" in captured.err
    one = json.loads(told(capsys, "simulate", *SHORT, "--json").out)
    assert "replications" not in one
    assert "sensitivity" not in one


@pytest.mark.parametrize("count", [0, 1001])
def test_a_number_of_replications_that_cannot_be_is_refused(count):
    with pytest.raises(ScenarioError, match=f"replications = {count}"):
        parse_scenario(f"replications: {count}", "made.yaml")
