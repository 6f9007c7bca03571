"""Variants of a scenario side by side: a line each, and what holds each of them back."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from test_reports_page import EVIL, _read

from builders import FlatLatency, make_plan
from streamtwin.cli import main
from streamtwin.core.library import find_scenario
from streamtwin.core.metrics import compute_metrics
from streamtwin.reports.figures.drawing import house_style
from streamtwin.reports.figures.variants import variants_figure
from streamtwin.reports.variants import PARTS, Variant, variant_of
from streamtwin.reports.variants_page import render_variants, variants_table
from streamtwin.sim.simulate import simulate


def variant(label: str, latency: FlatLatency, **changes: object) -> Variant:
    records = simulate(make_plan(chunks=60, **changes), latency)
    return variant_of(label, records, compute_metrics(records))


def three() -> list[Variant]:
    return [
        variant("one", FlatLatency(), gpus=1),
        variant("slow decoder", FlatLatency(decode_s=0.2), gpus=2),
        variant(EVIL, FlatLatency(hop_s=0.2), gpus=3),
    ]


def test_the_limit_is_the_rank_that_waits_least_and_its_largest_part() -> None:
    one, decoder, link = three()
    assert one.limit.startswith("DiT on 0, ")
    assert decoder.limit.startswith("decode on 1, ")
    assert link.limit.startswith("hop on ")
    for each in (one, decoder, link):
        assert 0 < sum(each.shares.values()) <= 1 + 1e-9
        assert set(each.shares) == set(PARTS)
    assert sum(one.shares.values()) == pytest.approx(1.0), "one card never waits"


def test_table_picture_and_page_have_a_line_for_each() -> None:
    variants = three()
    assert variants_table("mine", variants).row_count == 3
    with house_style():
        figure = variants_figure(variants)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [one.label for one in variants]
    page = render_variants("mine", EVIL, variants, {"one": ["deployment.gpus=1"]}, "name: mine")
    assert "<script" not in page
    reader = _read(page)
    assert not {"script", "link", "iframe", "img"} & set(reader.tags)
    assert "deployment.gpus=1" in " ".join(reader.text)


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["simulate", *arguments])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_every_variant_is_predicted_and_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ("stream-batch", "--variants", "--set", "workload.chunks=30", "--json")
    status, out, err = simulated(capsys, *asked, "--out", str(tmp_path / "runs"))
    assert status == 0, err
    told = json.loads(out)["variants"]
    assert [one["label"] for one in told] == list(find_scenario("stream-batch").variants)
    # a stream batch brings more frames a second, and each of them later
    rates = {one["label"]: (one["fps"], one["latency_s"]["p50"]) for one in told}
    for steps in (2, 3, 4):
        on, off = rates[f"{steps} steps, on"], rates[f"{steps} steps, off"]
        assert on[0] > off[0]
        assert on[1] > off[1]
    assert len(list((tmp_path / "runs").glob("*/metrics.json"))) == len(told)
    assert (tmp_path / "runs" / "report.html").stat().st_size > 10_000


REFUSED = {
    "recurrence": ("deployment.partition.schedule={5: [14, 16]}", "'recurrence' does not apply"),
    "auto": ("workload.sessions=200", "200 session(s) do not fit"),
    "simpy": ("deployment.gpus=31", "deployment.gpus = 31"),
}


@pytest.mark.parametrize("engine", REFUSED)
def test_a_variant_that_is_refused_is_named_before_any_is_predicted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: str
) -> None:
    override, words = REFUSED[engine]
    text = (files("streamtwin.scenarios") / "stream-batch.yaml").read_text("utf-8")
    head = text.partition("variants:")[0].replace("gpus: 1", "gpus: 2")
    file, out = tmp_path / "mine.yaml", tmp_path / "runs"
    file.write_text(f"{head}variants: {json.dumps({'good': [], 'bad': [override]})}", "utf-8")
    status, _, err = simulated(
        capsys, str(file), "--variants", "--engine", engine, "--out", str(out)
    )
    assert status == 2
    assert "variant 'bad'" in err
    assert words in err
    assert "predicting" not in err, "the good one was simulated in vain"
    assert not out.exists()


MISTAKES = {
    ("sdv2-1.3b-480p", "--variants"): "--variants: the scenario has none",
    ("stream-batch", "--variants", "--sensitivity"): "goes with neither",
    ("stream-batch", "--variants", "--replications", "3"): "goes with neither",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_ends_with_one_message(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, out, err = simulated(capsys, *arguments)
    assert (status, out) == (2, "")
    assert MISTAKES[arguments] in err
