"""Laws of profiles that nobody measured: fitted to published figures, or derived from others."""

import csv
import shutil
from dataclasses import replace
from datetime import date

import pytest

from streamtwin.calibrate.assumptions import read_assumptions
from streamtwin.calibrate.derive import Scaling, derive
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.locate import shipped_profiles
from streamtwin.calibrate.model import ProfileLatency
from streamtwin.calibrate.profile import FIGURES, read_profile
from streamtwin.calibrate.published_fit import (
    choose,
    dit_term,
    equations_of,
    pass_of_row,
    plan_of_row,
)
from streamtwin.calibrate.published_profile import published_profile
from streamtwin.calibrate.published_rows import COLUMNS, read_rows
from streamtwin.core import catalog
from streamtwin.core.errors import CalibrationError
from streamtwin.core.layout import lay_out
from streamtwin.core.library import find_scenario
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import Hop
from streamtwin.sim.simulate import simulate

H100, RTX4090 = "h100-sxm-sdv2-paper", "rtx4090-sdv2-paper"
PUBLISHED = (H100, RTX4090)
SHIPPED = sorted(path.name for path in shipped_profiles().iterdir() if path.is_dir())
DERIVED = [name for name in SHIPPED if name.endswith("-derived")]


def shipped(name):
    return read_profile(shipped_profiles() / name)


def figures(name):
    return read_rows(shipped_profiles() / name / FIGURES)


def period_s(model, row, vae="wan2.1", level="mean_s"):
    """A chunk on one device: encoding, passes, decoding."""
    plan = plan_of_row(row, vae)
    ops = [plan.encode(1), plan.decode(1), *[pass_of_row(row, vae)] * row.passes]
    return sum(getattr(model.predict(op), level) for op in ops)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_profiles_say_what_was_published(name):
    profile = shipped(name)
    model = profile.latency_model(1)
    rates = [row for row in figures(name) if row.metric == "fps"]
    errors = [4 / period_s(model, row) / row.value - 1 for row in rates]
    assert len(rates) > 6
    assert max(map(abs, errors)) < 0.025


def test_no_figure_of_several_devices_is_fitted():
    for name in PUBLISHED:
        assert not [row for row in figures(name) if row.metric == "fps" and row.gpus > 1]


@pytest.mark.parametrize("name", PUBLISHED)
def test_shipped_fits_follow_from_the_figures_beside_them(name):
    again, known = published_profile(shipped_profiles() / name), shipped(name)
    assert [fit.form for fit in again.fits] == [fit.form for fit in known.fits]
    for new, old in zip(again.fits, known.fits, strict=True):
        assert new.ranges == old.ranges
        assert [p.name for p in new.parameters] == [p.name for p in old.parameters]
        values = [p.value for p in old.parameters]
        assert [p.value for p in new.parameters] == pytest.approx(values, rel=1e-6)
    assert again.requests == known.requests


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.sums])
def test_true_services_are_found_in_their_sums(form):
    """Figures made up from known times give these times back, whatever their form."""
    rows, assumed = figures(H100), read_assumptions(shipped_profiles() / H100 / "assumptions.yaml")
    knob = 0.0
    names = list(
        dict.fromkeys(n for one in equations_of(form, knob, rows, assumed) for n in one.terms)
    )
    true = {
        name: (0.01 + 0.003 * i) if "x" in name else 1e-14 if "flops" in name else 1e-3 * (1 + i)
        for i, name in enumerate(names)
    }
    made_up = []
    for one in equations_of(form, knob, rows, assumed):
        seconds = sum(true[name] * amount for name, amount in one.terms.items())
        value = 4 / seconds if one.row.metric == "fps" else 1e3 * seconds
        made_up.append(replace(one.row, value=value))
    found, alternatives = choose(made_up, assumed)
    assert alternatives[form] == pytest.approx(0.0, abs=1e-6)
    if found.form == form:
        assert found.solution.values == pytest.approx(true, rel=1e-5)


def test_no_pass_over_more_tokens_is_predicted_shorter():
    """Also where figures say so: at 480x832 they are turned into those of a faster card."""
    rows, assumed = figures(H100), read_assumptions(shipped_profiles() / H100 / "assumptions.yaml")
    odd = [
        replace(row, value=row.value * 3) if (row.height, row.metric) == (480, "fps") else row
        for row in rows
    ]
    for given in (rows, odd):
        found, _ = choose(given, assumed)
        for model in ("wan2.1-1.3b", "wan2.1-14b"):
            few, many = (
                sum(
                    found.solution.values[dit_term(model, name)] * amount
                    for name, amount in FORMS[found.form].terms(op, "", found.knob).items()
                )
                for op in (
                    replace(pass_of_row(given[0], "wan2.1"), model=model, rows=1, tokens=tokens,
                            kv_tokens=6 * tokens)
                    for tokens in (1024, 1560)
                )
            )  # fmt: skip
            assert few <= many


def test_a_time_of_one_pass_is_one_pass_whatever_the_steps():
    rows, assumed = figures(H100), read_assumptions(shipped_profiles() / H100 / "assumptions.yaml")
    one = next(row for row in rows if row.metric == "pass_ms")
    alone = replace(one, stream_batch=False, steps=3)
    (equation,) = equations_of("launch_linear", 0.0, [alone], assumed)
    assert equation.terms["pass"] == 1.0
    assert equation.seconds == pytest.approx(one.value * 1e-3)


def test_a_slower_figure_makes_a_slower_profile():
    rows, assumed = figures(H100), read_assumptions(shipped_profiles() / H100 / "assumptions.yaml")
    slower = [
        replace(row, value=row.value / 2 if row.metric == "fps" else row.value * 2) for row in rows
    ]
    before, after = (choose(each, assumed)[0].solution.values for each in (rows, slower))
    assert sum(after.values()) > 1.5 * sum(before.values())


def test_what_is_assumed_says_so():
    model = shipped(H100).latency_model(1)
    by_size = {row.resolution: plan_of_row(row, "wan2.1") for row in figures(H100)}
    measured, split = by_size[480, 832], by_size[512, 512]
    assert model.predict(measured.encode(1)).provenance.kind == "published"
    assert model.predict(split.encode(1)).provenance.kind == "assumed"
    assert model.predict(measured.encode(0)).provenance.kind == "assumed"
    assert model.predict(Hop(5_000_000)).provenance.kind == "assumed"
    # 2 to 6 ms from one to four rows of 1560 tokens, 1536 numbers of 2 bytes each, and latents
    few, many = (model.predict(Hop(rows * (1560 * 1536 + 16 * 60 * 104) * 2)) for rows in (1, 4))
    assert (few.mean_s, many.mean_s) == pytest.approx((0.002, 0.006), rel=0.02)
    for hop in (few, many):
        assert hop.low_s < 0.6 * hop.mean_s
        assert hop.high_s > 1.4 * hop.mean_s


@pytest.mark.parametrize("name", DERIVED)
def test_derived_profiles_say_so_everywhere(name):
    profile = shipped(name)
    model = profile.latency_model(1)
    plan = plan_of_row(figures(H100)[0], "wan2.1")
    assert profile.provenance.kind == "derived"
    assert model.predict(plan.encode(1)).provenance.kind == "derived"
    assert model.predict(pass_of_row(figures(H100)[0], "wan2.1")).provenance.kind == "derived"
    assert model.predict(Hop(1000)).provenance.kind == "assumed"


@pytest.mark.parametrize("name", DERIVED)
def test_shipped_derived_profiles_follow_from_their_base(name):
    known = shipped(name)
    again = derive(shipped(H100), "h100-sxm", name.removesuffix("-derived"), date(2026, 1, 1))
    for new, old in zip(again.fits, known.fits, strict=True):
        assert new.parameters == old.parameters


def test_published_rows_of_a_4090_lie_inside_the_derived_intervals():
    """The only card that is both derived and published."""
    model = shipped("rtx4090-derived").latency_model(1)
    for row in figures(RTX4090):
        low, high = (period_s(model, row, level=level) for level in ("low_s", "high_s"))
        assert low < 4 / row.value < high, row


def test_nothing_changes_on_the_same_card():
    base, same = catalog.gpu("h100-sxm"), Scaling(catalog.gpu("h100-sxm"), catalog.gpu("h100-sxm"))
    scaled = same.computed(0.1, 2e14)
    assert scaled.value == pytest.approx(0.1)
    assert scaled.low < 0.1 < scaled.high
    assert same.compute == same.memory == 1.0
    assert base.link == "nvlink4"


def test_a_faster_card_is_faster_and_a_slower_one_slower():
    row = figures(H100)[3]
    times = {
        name: period_s(shipped(name).latency_model(1), row)
        for name in ("b200-derived", "h200-sxm-derived", H100, "a100-sxm-derived", "l40s-derived")
    }
    assert list(times.values()) == sorted(times.values())


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / H100
    shutil.copytree(shipped_profiles() / H100, copy)
    return copy


def spoil(folder, **cells):
    """Change cells of the first figure."""
    path = folder / FIGURES
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0].update(cells)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"gpus": "2"}, "line 2: gpus = '2': frame rates of several devices are never fitted"),
        ({"value": "nan"}, "line 2: value = 'nan': give a finite number above 0"),
        ({"value": "-1"}, "line 2: value = '-1'"),
        ({"value": "0"}, "line 2: value = '0'"),
        ({"value": "fast"}, "line 2: value = 'fast': not a number"),
        ({"metric": "speed"}, "line 2: metric = 'speed': choose one of fps"),
        ({"stream_batch": "yes"}, "line 2: stream_batch = 'yes': choose one of on, off"),
        ({"source": ""}, "line 2: source = '': is missing"),
        ({"steps": "1.5"}, "line 2: steps = '1.5': give a whole number"),
    ],
)
def test_a_wrong_figure_is_named(folder, cells, message):
    spoil(folder, **cells)
    with pytest.raises(CalibrationError, match=message):
        read_profile(folder)


def test_a_figure_that_stands_twice_is_refused(folder):
    lines = (folder / FIGURES).read_text().splitlines()
    (folder / FIGURES).write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(CalibrationError, match="twice"):
        published_profile(folder)


def test_too_few_figures_are_refused(folder):
    lines = (folder / FIGURES).read_text().splitlines()
    (folder / FIGURES).write_text("\n".join(lines[:3]))
    with pytest.raises(CalibrationError, match="2 published figures are too few"):
        published_profile(folder)


def test_an_assumption_outside_its_own_interval_is_refused(folder):
    path = folder / "assumptions.yaml"
    path.write_text(path.read_text().replace("low: 0.33", "low: 0.5"))
    with pytest.raises(CalibrationError, match="encode_share"):
        published_profile(folder)


def test_what_was_not_published_is_refused():
    model = shipped(RTX4090).latency_model(1)
    four = next(row for row in figures(H100) if row.steps == 4 and row.stream_batch)
    with pytest.raises(CalibrationError, match="rows = 4 lies outside the calibrated range"):
        model.predict(pass_of_row(four, "wan2.1"))
    other = ProfileLatency(shipped(H100).provenance, 1, shipped(H100).fits)
    with pytest.raises(CalibrationError, match="'taehv' was not measured"):
        other.predict(plan_of_row(four, "taehv").decode(1))


ONE_CARD = [row for row in figures(H100) if row.metric == "fps" and row.steps in (1, 4)]


@pytest.mark.parametrize("row", ONE_CARD, ids=lambda row: row.label)
def test_the_shipped_scenario_reaches_what_was_published_of_one_card(row):
    height, width = row.resolution
    asked = {
        "model": row.model,
        "resolution": f"[{height},{width}]",
        "deployment.gpus": 1,
        "deployment.steps": row.steps,
        "deployment.stream_batch": str(row.stream_batch).lower(),
        "workload.chunks": 40,
    }
    scenario = find_scenario("sdv2-1.3b-480p", tuple(f"{k}={v}" for k, v in asked.items()))
    model = shipped(H100).latency_model(1)
    records = simulate(lay_out(scenario, itemsize=2), model)
    assert compute_metrics(records)["fps"] == pytest.approx(row.value, rel=0.025)
    said = records.info.provenance["service_times"]
    assert said.split("; ")[0] == "published"
    assert "first decode assumed" in said.split("; ")
    split = {row.resolution for row in figures(H100) if row.metric == "decode_ms"}
    assert ("decode assumed" in said.split("; ")) is (row.resolution not in split)


def test_figures_and_assumptions_that_changed_are_noticed(folder):
    for name in (FIGURES, "assumptions.yaml"):
        whole = (folder / name).read_text()
        (folder / name).write_text("\n".join(whole.splitlines()[:-1]) + "\n")
        with pytest.raises(CalibrationError, match=f"{name}: is not the file"):
            read_profile(folder)
        (folder / name).write_text(whole)
    (folder / "assumptions.yaml").unlink()
    with pytest.raises(CalibrationError, match=r"assumptions\.yaml: cannot be read"):
        read_profile(folder)


@pytest.mark.parametrize("content", ["a: 2001-99-99", "[" * 5000, "5"])
def test_a_head_that_is_none_is_refused(folder, content):
    (folder / "meta.yaml").write_text(content)
    with pytest.raises(CalibrationError, match=r"meta\.yaml"):
        read_profile(folder)


def test_a_request_without_a_device_is_refused(folder):
    path = folder / "meta.yaml"
    path.write_text(path.read_text().replace("  device: cuda\n", ""))
    with pytest.raises(CalibrationError, match=r"requests\.0\.device is missing"):
        read_profile(folder)
