"""`compare --decisions` as a user meets it, and what `validate` says of decisions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from builders import FlatLatency, make_plan
from streamtwin.cli import main
from streamtwin.cli.decisions import with_decisions
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.reports.decision_tables import validated_table
from streamtwin.reports.decisions import validated
from streamtwin.reports.store import write_run
from streamtwin.reports.tables import slim_table
from streamtwin.sim.simulate import simulate

LIVE: dict[str, Any] = {"gpus": 2, "chunks": 16, "source_fps": 120, "admission": "drop_oldest"}


def run(block_s: float = 0.01, **changes: Any) -> Records:
    plan = make_plan(**{**LIVE, "max_waiting": 1, **changes})
    return simulate(plan, FlatLatency(block_s=block_s))


def broken(records: Records) -> Records:
    """*records* in which one admission does not follow from what was seen."""
    index = next(i for i, d in enumerate(records.decisions) if d.chose == "drop_oldest")
    log = list(records.decisions)
    log[index] = replace(log[index], chose="drop_new")
    return replace(records, decisions=tuple(log))


def store(folder: Path, records: Records) -> Path:
    write_run(folder, records, compute_metrics(records), "name: x\n")
    return folder


def compare(
    capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["compare", "--decisions", *map(str, arguments)])
    return end.value.code, *capsys.readouterr()


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_two_runs_are_asked_again_and_laid_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = store(tmp_path / "a", run()), store(tmp_path / "b", run(block_s=0.011))
    status, out, _ = compare(capsys, a, b, "--json")
    document = json.loads(out)
    assert (status, document["ok"]) == (0, True)
    assert [one["identical"] for one in document["replays"]] == [True, True]
    [pair] = document["logs"]
    assert not pair["identical"]
    difference = pair["difference"]
    assert difference["here"]["saw"] != difference["there"]["saw"]
    assert difference["unlike"]
    status, out, _ = compare(capsys, a, b)
    assert status == 0
    assert f"first difference: decision {difference['here']['number']} " in out
    for name in difference["unlike"]:
        assert f"saw {name}" in out
    assert compare(capsys, a, a, "--json")[1].count('"identical": true') == 3


def test_a_policy_that_does_not_choose_again_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = compare(capsys, store(tmp_path / "a", broken(run())))
    assert status == 1
    assert "asked again on what it saw, a policy differs: decision " in out
    assert "chose drop_new and drop_oldest" in out
    assert "saw waiting" in out


MISTAKES = {
    "no such folder": (lambda folder: folder / "none", "not a folder"),
    "no run in it": (lambda folder: folder, "has no metrics.json"),
    "no log": (
        lambda folder: store(folder / "b", replace(run(), decisions=())),
        "b: has no decision log",
    ),
    "log cut short": (
        lambda folder: store(folder / "b", replace(run(), decisions=run().decisions[:-9])),
        "the log is truncated or damaged",
    ),
    "file cut short": (lambda folder: _half(store(folder / "b", run())), "not a readable records"),
    "another scenario": (
        lambda folder: store(folder / "b", run(gpus=3)),
        "are of different scenarios: deployment.gpus = 2 and 3",
    ),
}


def _half(folder: Path) -> Path:
    file = folder / "records.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_compared_is_said_in_one_message(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = MISTAKES[mistake]
    status, out, err = compare(capsys, store(tmp_path / "a", run()), make(tmp_path))
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("streamtwin: ") == 1


class Trial(NamedTuple):
    label: str
    predicted: Records
    measured: list[Records]


def test_a_validation_says_whether_policies_choose_again_and_where_logs_part() -> None:
    predicted = run()
    measured = replace(run(block_s=0.011), info=replace(predicted.info, source="measured"))
    good = Trial("good", predicted, [measured, predicted])
    document, tables = with_decisions([good], {"ok": True}, slim_table("x", ()))
    assert document["decisions"]["ok"]
    first, second = document["decisions"]["words"]
    assert first.startswith("good: in 2 real runs and the prediction every policy, asked again")
    assert "what differs in more than seconds, first at decision " in second
    assert "; chose " in second
    assert len(tables) == 2
    bad = good._replace(measured=[broken(measured)])
    document, _ = with_decisions([good, bad], {"ok": True}, slim_table("x", ()))
    assert not document["decisions"]["ok"]
    assert "measured 1: asked again" in document["decisions"]["words"][2]
    found = validated_table([validated(*bad)])
    assert "bold red" in {str(row.style) for row in found.rows}
