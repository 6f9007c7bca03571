"""A calibration that stops half-way goes on, and what it left is never taken for a profile."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from grid_cases import TINY, TWO_SIZES, BrokenError, Host, on

from streamtwin.calibrate import journal as journals
from streamtwin.calibrate import run
from streamtwin.calibrate.grid import Grid, parts_of
from streamtwin.calibrate.harness import ENOUGH_TIMES, MIN_TIMES, WARMUPS
from streamtwin.calibrate.journal import lock, partial_folder
from streamtwin.calibrate.locate import HOME, find_profile, list_profiles
from streamtwin.calibrate.profile import read_profile
from streamtwin.calibrate.run import Settings, calibrate
from streamtwin.calibrate.schedule import MAX_STARTS
from streamtwin.core.errors import CalibrationError, UserError

BUDGET_S = 60.0


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(run, "usable_cores", lambda: 2)


def calibrated(out, host=None, grid=TINY, **settings):
    host = host or Host()
    return calibrate(grid, out=out, budget_s=BUDGET_S, settings=on(host, Settings(**settings)))


def stopped(out, times, grid=TINY, spread=0.01):
    host = Host(breaks_after=times, spread=spread)
    with pytest.raises(BrokenError):
        calibrated(out, host, grid)
    return host


def cases_of(profile):
    return {(one.case, one.rank) for one in profile.measurements}


@pytest.mark.parametrize(
    ("times", "grid"), [(1, TINY), (60, TINY), (300, TINY), (700, TINY), (1000, TWO_SIZES)]
)
def test_resumed_and_uninterrupted_measure_the_same_cases(tmp_path, times, grid):
    whole = calibrated(tmp_path / "whole", grid=grid)
    stopped(tmp_path / "torn", times, grid)
    told = []
    torn = calibrated(tmp_path / "torn", grid=grid, say=told.append)
    assert cases_of(torn) == cases_of(whole)
    assert torn.left_out == whole.left_out == ()
    assert read_profile(tmp_path / "torn") == torn
    assert not partial_folder(tmp_path / "torn").exists()
    assert told[0].startswith("going on with a calibration that stopped after")


def test_what_was_done_is_not_done_again(tmp_path):
    first = stopped(tmp_path / "torn", 300)
    begun = [start.part.label for start in first.starts]
    assert len(begun) > 1
    second = Host()
    calibrated(tmp_path / "torn", second)
    again = {start.part.label for start in second.starts if start.sweep == 0}
    assert again == {part.label for part in parts_of(TINY)} - set(begun[:-1])


def test_times_taken_before_the_stop_are_in_the_profile(tmp_path):
    """Rounds that were whole are kept: only cases without enough times are timed again."""
    stopped(tmp_path / "torn", 150)
    kept = (partial_folder(tmp_path / "torn") / "samples.csv").read_text().splitlines()[1:]
    second = Host()
    profile = calibrated(tmp_path / "torn", second)
    first = parts_of(TINY)[0]
    assert first.label not in {one.part.label for one in second.starts if one.sweep == 0}
    rows = (tmp_path / "torn" / "samples.csv").read_text().splitlines()
    enough = [line for line in kept if line in rows]
    assert len(enough) > 0.8 * len(kept)
    assert all(len(one.steady) >= MIN_TIMES for one in profile.measurements)


def test_the_time_before_the_stop_counts(tmp_path):
    host = stopped(tmp_path / "torn", 4000, spread=0.5)
    before_s = host.now_s
    assert before_s > 0.15 * BUDGET_S
    rest = Host(spread=0.5)
    calibrated(tmp_path / "torn", rest)
    assert 0.8 * BUDGET_S < rest.now_s + before_s < 1.1 * BUDGET_S


def test_every_start_has_a_number_of_its_own(tmp_path):
    profile = calibrated(tmp_path / "whole")
    runs = {}
    for one in profile.measurements:
        runs.setdefault((one.case, one.rank), []).append(one.run)
    assert {tuple(each) for each in runs.values()} == {tuple(range(MAX_STARTS))}
    assert len(set(runs)) == len(cases_of(profile))


def test_a_second_start_that_was_stopped_is_made_up_for(tmp_path):
    """The first times of a case say nothing of the second start that was under way."""
    once = sum(len(part.cases) * (part.ranks if part.kind == "kernels" else 1)
               for part in parts_of(TINY))  # fmt: skip
    first = stopped(tmp_path / "torn", (WARMUPS + ENOUGH_TIMES) * once + 50)
    assert [start.sweep for start in first.starts] == [0, 0, 0, 0, 1]
    profile = calibrated(tmp_path / "torn")
    runs = {}
    for one in profile.measurements:
        runs.setdefault((one.case, one.rank), set()).add(one.run)
    assert {len(each) for each in runs.values()} == {MAX_STARTS}


def test_a_torn_last_line_is_dropped_and_said(tmp_path):
    stopped(tmp_path / "torn", 200)
    samples = partial_folder(tmp_path / "torn") / "samples.csv"
    samples.write_bytes(samples.read_bytes()[:-9])
    told = []
    profile = calibrated(tmp_path / "torn", say=told.append)
    assert told[0].endswith("samples.csv: its last line was cut off and is dropped")
    assert read_profile(tmp_path / "torn") == profile


def test_a_journal_is_no_profile(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME, str(tmp_path))
    out = tmp_path / "profiles" / "mine"
    out.parent.mkdir()
    stopped(out, 200)
    assert not [name for name in list_profiles() if "mine" in name]
    with pytest.raises(CalibrationError, match=r"meta\.yaml: cannot be read"):
        read_profile(partial_folder(out))
    with pytest.raises(UserError, match="unknown profile"):
        find_profile(str(partial_folder(out)))


def test_another_request_is_refused_until_fresh(tmp_path):
    stopped(tmp_path / "torn", 200)
    with pytest.raises(CalibrationError, match=r"requests = .*start anew with --fresh"):
        calibrated(tmp_path / "torn", grid=TWO_SIZES)
    assert (partial_folder(tmp_path / "torn") / "samples.csv").stat().st_size > 1000
    profile = calibrated(tmp_path / "torn", grid=TWO_SIZES, fresh=True)
    assert len(profile.requests) == 2


def test_a_calibration_that_nobody_asked_for_begins_anew_by_itself(tmp_path):
    stopped(tmp_path / "torn", 200)
    told = []
    profile = calibrated(tmp_path / "torn", grid=TWO_SIZES, stale="replace", say=told.append)
    assert told[0].endswith("calibrating anew")
    assert len(profile.requests) == 2


def test_another_environment_is_refused(tmp_path, monkeypatch):
    stopped(tmp_path / "torn", 200)
    here = run.read_environment(None)
    monkeypatch.setattr(run, "read_environment", lambda _: replace(here, torch="9.9"))
    with pytest.raises(CalibrationError, match=r"torch = .* \(here '9\.9'\); start anew"):
        calibrated(tmp_path / "torn")


@pytest.mark.parametrize("name", [journals.HEAD, journals.TIMES, journals.STARTS])
def test_a_damaged_journal_says_how_to_begin_anew(tmp_path, name):
    stopped(tmp_path / "torn", 200)
    (partial_folder(tmp_path / "torn") / name).write_text("sweep,part\nnothing,of,the,kind\n")
    with pytest.raises(CalibrationError, match="start anew with --fresh"):
        calibrated(tmp_path / "torn")
    calibrated(tmp_path / "torn", fresh=True)


def test_a_folder_in_use_is_refused_with_the_number_of_its_process(tmp_path):
    handle = lock(partial_folder(tmp_path / "mine"))
    with pytest.raises(UserError, match=rf"process {os.getpid()} is calibrating there"):
        calibrated(tmp_path / "mine")
    os.close(handle)
    calibrated(tmp_path / "mine")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts():
    host = Host()
    with pytest.raises(UserError, match="cannot be written"):
        calibrated(Path("/proc/none"), host)
    assert host.starts == []


def test_a_small_budget_names_what_it_left_out(tmp_path):
    profile = calibrate(TINY, out=tmp_path / "small", budget_s=3.0, settings=on(Host(), Settings()))
    assert any("cases, for lack of time" in words for words in profile.left_out)
    assert read_profile(tmp_path / "small").left_out == profile.left_out
    named = sum(int(words.split(": ")[1].split(" of ")[0]) for words in profile.left_out)
    every = {case for part in parts_of(TINY) for case in part.cases}
    assert named == len(every - {one.case for one in profile.measurements})


def test_skipped_requests_are_named_in_the_profile(tmp_path):
    grid = Grid(TINY.requests, ("wan2.1-14b at 720x1280: needs too much",))
    assert calibrated(tmp_path / "mine", grid=grid).left_out == grid.skipped


def test_the_clock_stays_within_the_budget(tmp_path):
    for budget_s in (20.0, 60.0):
        host = Host(spread=0.5)
        calibrate(TINY, budget_s=budget_s, settings=on(host, Settings()))
        assert host.now_s < 1.05 * budget_s


def real(home, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "streamtwin.cli", "calibrate", "--resolution", "32x48", "--ranks", "1", *arguments],
        cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "STREAMTWIN_HOME": str(home), "COLUMNS": "100"},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_real_calibration_that_is_killed_goes_on(tmp_path, number):
    process = real(tmp_path, "--out", "mine", "--budget", "30")
    samples = tmp_path / "mine.partial" / "samples.csv"
    deadline_s = time.monotonic() + 60
    while not samples.exists() or samples.stat().st_size < 16_000:
        assert time.monotonic() < deadline_s
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "the same command goes on from there" in errors
    kept = samples.read_text().rsplit("\n", 1)[0].splitlines()[1:]
    assert not (tmp_path / "mine").exists()
    again = real(tmp_path, "--out", "mine", "--budget", "6", "--json")
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert "going on with a calibration that stopped" in errors
    assert {fit["family"] for fit in json.loads(output)["fits"]} >= {"dit", "encode", "decode"}
    rows = set((tmp_path / "mine" / "samples.csv").read_text().splitlines())
    assert sum(line in rows for line in kept) > 0.5 * len(kept)


@pytest.mark.parametrize("seconds", ["nan", "-5", "inf", "1e308", "soon"])
def test_seconds_that_no_start_took_are_damage(tmp_path, seconds):
    stopped(tmp_path / "torn", 200)
    starts = partial_folder(tmp_path / "torn") / "starts.csv"
    lines = starts.read_text().splitlines()
    assert lines[0].endswith(",seconds")
    lines[1] = f"{lines[1].rpartition(',')[0]},{seconds}"
    starts.write_text("\n".join([*lines, ""]))
    with pytest.raises(CalibrationError, match="is damaged"):
        calibrated(tmp_path / "torn")
    assert starts.exists()


@pytest.mark.parametrize(
    "content", ["asked: 5", "schema: 1\nasked: null\nenvironment: {}", "[" * 5000]
)
def test_a_head_that_makes_no_sense_is_damage(tmp_path, content):
    stopped(tmp_path / "torn", 200)
    (partial_folder(tmp_path / "torn") / "journal.yaml").write_text(content)
    with pytest.raises(CalibrationError, match=r"journal\.yaml: is damaged"):
        calibrated(tmp_path / "torn")
