"""Profiles on disk: whole or not at all, and every defect named."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from calibration_data import ENVIRONMENT, all_cases, noisy

from streamtwin.calibrate import profile as profile_module
from streamtwin.calibrate.profile import (
    make_profile,
    read_profile,
    write_profile,
)
from streamtwin.core.errors import CalibrationError


@pytest.fixture(scope="module")
def profile():
    return make_profile(
        "bench",
        ENVIRONMENT,
        [{"model": "tiny", "device": "cpu"}],
        noisy(all_cases(1) + all_cases(2), 0.02, count=4),
    )


@pytest.fixture(scope="module")
def written(profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles") / "bench"
    write_profile(profile, folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A profile of its own to spoil."""
    copy = tmp_path / "bench"
    copy.mkdir()
    for file in written.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_reads_what_was_written(profile, folder):
    assert read_profile(folder) == profile


def test_writes_nothing_beside_the_three_files(folder, written):
    assert {file.name for file in written.iterdir()} == {"meta.yaml", "samples.csv", "fit.json"}
    assert [entry.name for entry in written.parent.iterdir()] == ["bench"]


def test_complete_is_said_last(folder):
    assert (folder / "meta.yaml").read_text().rstrip().endswith("\ncomplete: true")


def test_every_raw_time_has_a_row(profile, folder):
    with (folder / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one.times) for one in profile.measurements)
    assert {row["environment"] for row in rows} == {ENVIRONMENT.key}


def test_replaces_an_older_profile(profile, folder):
    write_profile(replace(profile, name="newer"), folder)
    assert read_profile(folder).name == "newer"
    assert [entry.name for entry in folder.parent.iterdir()] == ["bench"]


@pytest.mark.parametrize("step", ["fit_file.dump_fits", "samples.write_samples"])
def test_a_write_that_fails_leaves_the_old_profile(profile, folder, monkeypatch, step):
    def fail(*_):
        raise OSError("disk full")

    module, name = step.split(".")
    monkeypatch.setattr(getattr(profile_module, module), name, fail)
    with pytest.raises(OSError, match="disk full"):
        write_profile(replace(profile, name="newer"), folder)
    monkeypatch.undo()
    assert read_profile(folder).name == "bench"
    assert [entry.name for entry in folder.parent.iterdir()] == ["bench"]


def set_cell(folder, column, value, line=5):
    path = folder / "samples.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    rows[line - 1][rows[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("seconds", "nan", "finite"),
        ("seconds", "inf", "finite"),
        ("seconds", "-0.1", "at least 0"),
        ("seconds", "0", "no operation takes no time"),
        ("seconds", "fast", "not a number"),
        ("seconds", "", "not a number"),
        ("rows", "1.5", "whole"),
        ("rows", "-1", "at least 0"),
        ("kind", "hip", "choose one of dit, encode, decode, hop"),
        ("repetition", "7", "expected 3"),
        ("warmup", "1", "warm-ups"),
        ("core_share", "x", "not a number"),
        ("environment", "0123456789ab", "environments are mixed"),
    ],
)
def test_a_wrong_cell_is_named(folder, column, value, complaint):
    set_cell(folder, column, value)
    with pytest.raises(CalibrationError, match=complaint) as caught:
        read_profile(folder)
    for part in ("samples.csv, line 5", f"{column} = {value!r}"):
        assert part in str(caught.value)


@pytest.mark.parametrize("cut", [2, 7, 120])
def test_a_file_that_was_cut_off_is_noticed(folder, cut):
    path = folder / "samples.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(CalibrationError, match=r"samples\.csv"):
        read_profile(folder)


def test_a_file_that_lost_its_last_row_is_noticed(folder):
    path = folder / "samples.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CalibrationError, match="raw_times"):
        read_profile(folder)


@pytest.mark.parametrize("name", ["meta.yaml", "samples.csv", "fit.json"])
@pytest.mark.parametrize("content", [None, b"", b"{[", b"\xff\xfe\x00"])
def test_a_missing_or_broken_file_is_named(folder, name, content):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=name):
        read_profile(folder)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("complete", False, "complete is not true"),
        ("complete", None, "complete is not true"),
        ("schema", 1, "schema"),
        ("name", [1], "name"),
        ("environment", {"host": "x"}, "environment"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_wrong_head_is_named(folder, key, value, complaint):
    path = folder / "meta.yaml"
    data = yaml.safe_load(path.read_text())
    if value is None:
        del data[key]
    else:
        data[key] = value
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(CalibrationError, match=complaint):
        read_profile(folder)


def test_another_environment_in_the_head_is_mixed(folder):
    path = folder / "meta.yaml"
    path.write_text(path.read_text().replace("torch: 2.11.0", "torch: 2.12.0"))
    with pytest.raises(CalibrationError, match="environments are mixed"):
        read_profile(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("half_width", float("nan")), ("half_width", -1), ("form", "magic"), ("ranks", 3)],
)
def test_a_wrong_fit_is_named(folder, field, value):
    path = folder / "fit.json"
    data = json.loads(path.read_text())
    data[0][field] = value
    path.write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match=r"fit\.json"):
        read_profile(folder)


def test_a_negative_parameter_is_refused(folder):
    path = folder / "fit.json"
    data = json.loads(path.read_text())
    data[0]["parameters"][0]["value"] = -1e-3
    path.write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match=r"parameters\.0\.value"):
        read_profile(folder)


def spoiled(folder, change):
    path = folder / "fit.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CalibrationError) as caught:
        read_profile(folder)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize("value", [1e308, 2e6, float("inf")])
def test_a_parameter_that_no_service_time_has_is_named(folder, value):
    fits = json.loads((folder / "fit.json").read_text())
    for index, fit in enumerate(fits):
        for place, parameter in enumerate(fit["parameters"]):
            old = parameter["value"]

            def change(data, value=value, index=index, place=place):
                data[index]["parameters"][place]["value"] = value

            said = spoiled(folder, change)
            named = f"parameter {parameter['name']!r} = {value!r}"
            assert named in said or f"{index}.parameters.{place}.value" in said
            assert fit["family"] in said or "value" in said
            fits[index]["parameters"][place]["value"] = old
            (folder / "fit.json").write_text(json.dumps(fits))


def test_a_product_that_no_service_takes_is_named_with_its_operation(folder):
    def change(data):
        fit = next(one for one in data if one["family"] == "hop")
        next(p for p in fit["parameters"] if p["name"] == "bytes")["value"] = 1e5

    assert "parameter 'bytes' = 100000.0" in (said := spoiled(folder, change))
    assert "s of Hop(size_bytes=" in said


def test_an_interval_wider_than_any_answer_is_refused(folder):
    said = spoiled(folder, lambda data: data[0].update(half_width=1e308))
    assert "half_width = 1e+308: give at most 1000" in said


@pytest.mark.parametrize("module", ["profile", "fit", "forms", "environment", "locate", "model"])
def test_reading_a_profile_never_loads_torch(module):
    code = (
        f"import sys, streamtwin.calibrate.{module}; "
        "assert not {'torch', 'matplotlib', 'simpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
