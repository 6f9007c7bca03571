"""Messages say which variant or which folder is at fault, and stay short whatever they quote."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import FlatLatency, make_plan
from streamtwin.cli import MAX_TOLD, main
from streamtwin.cli.decisions import with_decisions
from streamtwin.cli.trials import Trial, compared
from streamtwin.core.brief import MAX_MESSAGE, MAX_TEXT, cut
from streamtwin.core.errors import RunError, ScenarioError, UserError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.core.scenario_file import parse_scenario
from streamtwin.reports.store import write_run
from streamtwin.reports.tables import slim_table
from streamtwin.sim.simulate import simulate

TWO = {"good": [], "bad": ["deployment.replicas=2"]}


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What is complained of; a mistake of the user, and nothing else is printed."""
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("streamtwin: ")) == (2, "", 1)
    return str(err).replace("\n", "")


def stored(folder: Path, records: Records) -> Path:
    metrics = compute_metrics(simulate(make_plan(chunks=12), FlatLatency()))
    write_run(folder, records, metrics, "name: x\n")
    return folder


def short(records: Records) -> Records:
    """*records* of which nearly nothing came out."""
    return replace(
        records,
        chunks=tuple(replace(one, emitted_s=None) if one.chunk else one for one in records.chunks),
    )


def of_another_version(records: Records) -> Records:
    scenario = {**records.info.scenario, "mood": "good"}
    return replace(records, info=replace(records.info, scenario=scenario))


@pytest.mark.parametrize(
    ("damage", "words"), [(short, "1 chunks were emitted"), (of_another_version, "'mood'")]
)
def test_a_folder_is_named_and_no_other(
    damage: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = simulate(make_plan(chunks=12), FlatLatency())
    good, bad = stored(tmp_path / "good", records), stored(tmp_path / "bad", damage(records))
    for command in (("report", bad), ("compare", good, bad), ("compare", bad, good)):
        err = said(capsys, *command)
        assert words in err
        assert f"{bad}: " in err
        assert str(good) not in err


def test_decisions_of_another_version_name_their_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = simulate(make_plan(chunks=12), FlatLatency())
    bad = stored(tmp_path / "bad", of_another_version(records))
    assert f"{bad}: the scenario in the records is none" in said(
        capsys, "compare", "--decisions", bad
    )


def test_what_cannot_run_is_named_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\nworkload: {{chunks: 8}}\nvariants: {TWO}\n", "utf-8")
    for command in (("validate", file), ("validate", file, "--suite")):
        err = said(capsys, *command, "--out", tmp_path / "out")
        assert "variant 'bad': mine: deployment.replicas = 2 can be simulated only" in err
        assert not (tmp_path / "out").exists()


def trial(label: str, measured: Any) -> Trial:
    plan = make_plan(chunks=12, variants={"good": [], "bad": []})
    records = simulate(plan, FlatLatency())
    return Trial(label, plan, None, records, compute_metrics(records), [measured(records)])  # type: ignore[arg-type]


def test_what_is_judged_of_a_variant_names_it() -> None:
    with pytest.raises(RunError, match=r"^variant 'bad': 1 chunks were emitted"):
        compared(trial("bad", short))
    tried = [
        trial("good", lambda records: records),
        trial("bad", lambda records: replace(records, decisions=records.decisions[:-3])),
    ]
    with pytest.raises(UserError, match=r"^variant 'bad': its decision log has"):
        with_decisions(tried, {}, slim_table("x", ()))


LONG = "x" * 50_000
MANY = ", ".join(["7"] * 20_000)
TOO_LONG = {
    f"{LONG}=1": "unknown key",
    f"name.{LONG}=1": "name is a value, not a section",
    f"workload.classes={{{LONG}: {{}}}}": "workload.classes",
    f"deployment.router={LONG}": "choose one of",
    f"deployment.hosts=[{MANY}]": "deployment.hosts",
    f"deployment.slowdown={{{', '.join(f'{rank}: 2' for rank in range(9000))}}}": "slowdown",
    f"deployment.sequence_ranks={'9' * 4000}": "deployment.sequence_ranks",
    f"model={LONG}": "unknown model",
    f"{{{LONG}": "write key=value",
    f"workload={{{LONG[:900]}: 1, {LONG[:900]}: 2}}": "stands twice",
}


@pytest.mark.parametrize("override", TOO_LONG, ids=TOO_LONG.get)
def test_a_message_stays_short_and_says_what_is_wrong(override: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse_scenario("name: x\nworkload: {chunks: 8}", "mine.yaml", [override])
    words = str(raised.value)
    assert words.startswith("mine.yaml")
    assert TOO_LONG[override] in words
    assert len(words) < MAX_TEXT + MAX_MESSAGE + 100


def test_whatever_is_asked_for_is_told_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    for argument in ("sim" + LONG, f"{'sub/' * 2000}x.yaml"):
        for command in ("simulate", "report", "validate"):
            assert len(said(capsys, command, argument)) <= MAX_TOLD + 20


def test_cut_keeps_begin_and_end() -> None:
    text = "".join(map(chr, range(32, 127))) * 10
    for most in (20, 199, 949, 950):
        short = cut(text, most)
        assert len(short) <= most
        assert (short == text) == (len(text) <= most)
        begin, _, end = short.partition(" ... ")
        assert text.startswith(begin)
        assert text.endswith(end)


@pytest.mark.parametrize("option", ["--engine", "--out"])
def test_an_option_of_any_length_is_told_shortly(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    value = str(tmp_path / ("q" * 9000)) if option == "--out" else "q" * 9000
    told = said(capsys, "simulate", "sdv2-1.3b-480p", option, value)
    assert told.startswith(f"streamtwin: {option} ")
    assert len(told) < 2 * MAX_TEXT
