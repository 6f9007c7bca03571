"""Is what no machine gives refused where it stands, in one line, before it makes a profile?"""

import csv
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration_data import ENVIRONMENT, all_cases, noisy
from trace_data import cuda_events, host_events, pass_of, write_trace

from streamtwin.calibrate.fit import fit_family
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.from_table import profile_from_table
from streamtwin.calibrate.from_trace import profile_from_trace
from streamtwin.calibrate.gathered import Timed, collected
from streamtwin.calibrate.least_squares import solve
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.profile import make_profile, read_profile, write_profile
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Hop

HUGE = 10**400


def refused(make: Callable[[], object]) -> str:
    """The complaint, which is one line and repeats no endless value."""
    with pytest.raises(CalibrationError) as caught:
        make()
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 700, said
    return said


@pytest.mark.parametrize(
    ("about", "complaint"),
    [
        ({"distributedInfo": {"world_size": -3, "rank": -7}}, "distributedInfo.world_size = -3: give"),
        ({"distributedInfo": {"world_size": "x"}}, "world_size = 'x': not a whole number; give 1 to"),
        ({"distributedInfo": {"world_size": None}}, "world_size = None: not a whole number"),
        ({"distributedInfo": {"world_size": 1e400}}, "world_size = inf: not a whole number"),
        ({"distributedInfo": {"world_size": True}}, "world_size = True: not a whole number"),
        ({"distributedInfo": {"world_size": 4097}}, "world_size = 4097: give 1 to 4096"),
        ({"distributedInfo": {"rank": {}}}, "distributedInfo.rank = {}: not a whole number"),
        ({"distributedInfo": {"rank": 4096}}, "distributedInfo.rank = 4096: give 0 to 4095"),
        ({"distributedInfo": {"rank": HUGE}}, "distributedInfo.rank = 10000"),
        ({"distributedInfo": None}, "distributedInfo = None: not a mapping"),
        ({"distributedInfo": "x"}, "distributedInfo = 'x': not a mapping"),
        ({"distributedInfo": [1]}, "distributedInfo = [1]: not a mapping"),
        ({"deviceProperties": 5}, "deviceProperties = 5: not a list of cards"),
        ({"deviceProperties": "x"}, "deviceProperties = 'x': not a list"),
        ({"deviceProperties": {"a": 1}}, "deviceProperties = {'a': 1}: not a list"),
        ({"deviceProperties": [5]}, "deviceProperties[0] = 5: a card has an id"),
        ({"deviceProperties": [{"name": 5, "id": []}]}, "deviceProperties[0] = {'name': 5"),
        ({"deviceProperties": [{"id": 0, "name": 5}]}, "deviceProperties[0] = {'id': 0"),
        ({"baseTimeNanoseconds": HUGE}, "baseTimeNanoseconds = 1000"),
        ({"baseTimeNanoseconds": 10**30}, "not a time: give whole nanoseconds since 1970"),
        ({"baseTimeNanoseconds": "soon"}, "baseTimeNanoseconds = 'soon': not a time"),
    ],
)  # fmt: skip
def test_what_a_trace_says_of_itself(about: dict, complaint: str, tmp_path: Path) -> None:
    for make in (host_events, cuda_events):
        path = write_trace(tmp_path / "t.json", make(), **about)
        said = refused(lambda path=path: profile_from_trace(path, "x"))
        assert complaint in said
        assert "t.json: " in said


@pytest.mark.parametrize("ranks", [0, -1, 4097, 99999999999999999999999])
def test_ranks_that_no_host_has(ranks: int, tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json", host_events())
    said = refused(lambda: profile_from_trace(path, "x", ranks))
    assert f"t.json: ranks = {ranks}: give 1 to 4096" in said
    assert profile_from_trace(path, "x", 4096).ranks == (4096,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5", "t.json: traceEvents is missing"),
        ('"x"', "t.json: traceEvents is missing"),
        ("null", "t.json: traceEvents is missing"),
        ("[" * 200_000, "t.json: not a trace: nested too deeply"),
        ('{"a":' * 200_000, "t.json: not a trace: nested too deeply"),
        ('{"traceEvents": [' + "7" * 5000 + "]}", "t.json: not a trace: a number has too many"),
    ],
    ids=["number", "text", "null", "lists", "mappings", "digits"],
)
def test_files_that_are_json_and_no_trace(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    assert complaint in refused(lambda: profile_from_trace(tmp_path / "t.json", "x"))


def first(events: list[dict[str, Any]], category: str) -> dict[str, Any]:
    return next(one for one in events if one["cat"] == category)


@pytest.mark.parametrize(
    ("category", "change", "complaint"),
    [
        ("user_annotation", {"dur": HUGE}, "dur = 1000"),
        ("user_annotation", {"ts": HUGE}, "ts = 1000"),
        ("user_annotation", {"ts": -HUGE}, "ts = -1000"),
        ("user_annotation", {"name": "streamtwin."}, "'streamtwin.': choose one of streamtwin.dit"),
        ("user_annotation", {"name": "streamtwin." + "x" * 9000}, "choose one of streamtwin.dit"),
        ("user_annotation", {"name": "streamtwin.hop " + "x" * 9000}, "'size_bytes' is missing"),
        ("user_annotation", {"name": "streamtwin.hop size_bytes=" + "9" * 9000}, "not a finite"),
        ("user_annotation", {"name": "streamtwin.hop size_bytes=1e30"}, "give 0 to 9007199254740992"),
        ("user_annotation", {"name": "x" * 9000, "dur": -1}, "dur = -1"),
        ("cuda_runtime", {"args": {"correlation": [1]}}, "args.correlation = [1]: not a number"),
        ("kernel", {"args": {"correlation": {}}}, "args.correlation = {}: not a number"),
        ("kernel", {"args": {"correlation": 1, "device": [0]}}, "args.device = [0]: not a number"),
        ("kernel", {"dur": 1e307}, "its work on the device = 1e+301 s: give 1e-09 to 1000000 s"),
    ],
)  # fmt: skip
def test_events_that_no_profiler_writes(
    category: str, change: dict, complaint: str, tmp_path: Path
) -> None:
    events = deepcopy(cuda_events())
    first(events, category).update(change)
    path = write_trace(tmp_path / "t.json", events)
    said = refused(lambda: profile_from_trace(path, "x"))
    assert complaint in said
    assert "t.json, traceEvents[" in said


def test_work_that_began_before_and_ended_after_everything(tmp_path: Path) -> None:
    events = deepcopy(cuda_events())
    before, after = [one for one in events if one["cat"] == "kernel"][:2]
    before["ts"], after["ts"] = -(10**308), 10**308
    path = write_trace(tmp_path / "t.json", events)
    assert "its work on the device = inf s" in refused(lambda: profile_from_trace(path, "x"))


@pytest.mark.parametrize("lasts_us", [1e307, 1e13, 1e-4, 1e-300])
def test_ranges_that_last_longer_or_shorter_than_anything(lasts_us: float, tmp_path: Path) -> None:
    ops = [(pass_of(8, rows), 100.0) for rows in (1, 2, 3)]
    events = [*host_events(ops), *host_events([(pass_of(8, 4), lasts_us)], times=1)]
    events[-1]["ts"] = 1e6
    path = write_trace(tmp_path / "t.json", events)
    said = refused(lambda: profile_from_trace(path, "x"))
    assert "traceEvents[15]" in said
    assert "dur = " in said
    assert "s: give 1e-09 to 1000000 s" in said


HEADER = (
    "kind,model,blocks,rows,chunk_latents,tokens,kv_tokens,embeds,unembeds,"
    "ranks,rank,run,held_out,core_share,seconds"
)
WRONG = [
    ("seconds", "1e308", "give 1e-09 to 1000000 s"),
    ("seconds", "5e-324", "give 1e-09 to 1000000 s"),
    ("seconds", "1000001", "give 1e-09 to 1000000 s"),
    ("core_share", "1e300", "give 0 to 1000"),
    ("kv_tokens", "1e300", "give 0 to 9007199254740992"),
    ("blocks", "1e30", "give 0 to 9007199254740992"),
    ("embeds", "7", "choose 0 or 1"),
    ("held_out", "9", "choose 0 or 1"),
    ("run", "1e300", "give 0 to 4096"),
    ("rank", "4096", "give 0 to 4095"),
    ("ranks", "1e30", "give 1 to 4096"),
    ("ranks", "0", "give 1 to 4096"),
]


@pytest.mark.parametrize(("column", "value", "complaint"), WRONG)
def test_cells_of_a_table(column: str, value: str, complaint: str, tmp_path: Path) -> None:
    names, row = HEADER.split(","), "dit,tiny,2,1,1,96,576,1,1,1,0,0,0,1,0.01"
    cells = dict(zip(names, row.split(","), strict=True))
    rows = [cells | {"rows": str(rows)} for rows in (1, 2, 3) for _ in range(4)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    assert profile_from_table(tmp_path / "t.csv", "x").fits
    with (tmp_path / "t.csv").open("a", newline="") as file:
        csv.DictWriter(file, names).writerow(cells | {column: value})
    said = refused(lambda: profile_from_table(tmp_path / "t.csv", "x"))
    assert f"t.csv, line 14: {column} = {value!r}: {complaint}" in said


@pytest.mark.parametrize(("column", "value", "complaint"), [*WRONG, ("warmup", "2", "choose 0")])
def test_cells_of_a_profile(column: str, value: str, complaint: str, tmp_path: Path) -> None:
    write_profile(make_profile("p", ENVIRONMENT, [], noisy(all_cases(1), 0.01)), tmp_path / "p")
    path = tmp_path / "p" / "samples.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    place = next(at for at, row in enumerate(rows) if row["kind"] == "dit" and at)
    rows[place][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    said = refused(lambda: read_profile(tmp_path / "p"))
    assert f"samples.csv, line {place + 2}: {column} = {value!r}: {complaint}" in said


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("dit,tiny,2,{},1,96,576,1,1,1,0,0,1,1,0.01", "dit: all 3 configurations are held out"),
        ("dit,nobody,2,{},1,96,576,1,1,1,0,0,0,1,0.01", "unknown model 'nobody'; known: "),
    ],
)
def test_what_is_wrong_with_all_rows_names_the_file(
    row: str, complaint: str, tmp_path: Path
) -> None:
    rows = [row.format(count) for count in (1, 2, 3) for _ in range(4)]
    (tmp_path / "t.csv").write_text("\n".join([HEADER, *rows]))
    assert f"t.csv: {complaint}" in refused(lambda: profile_from_table(tmp_path / "t.csv", "x"))


def test_no_profile_is_written_that_nobody_can_read(tmp_path: Path) -> None:
    sound = make_profile("p", ENVIRONMENT, [], noisy(all_cases(1), 0.01))
    write_profile(sound, tmp_path / "p")
    fits = (replace(sound.fits[0], half_width=1e9), *sound.fits[1:])
    for folder in (tmp_path / "p", tmp_path / "new"):
        said = refused(lambda folder=folder: write_profile(replace(sound, fits=fits), folder))
        assert f"{folder / 'fit.json'}: " in said
        assert "half_width = 1000000000.0" in said
    assert read_profile(tmp_path / "p") == sound
    assert [one.name for one in tmp_path.iterdir()] == ["p"], "no draft is left"


@pytest.mark.parametrize("sizes", [(0, 1), (0, 1, 2), (0, 5, 1000)])
def test_hops_of_nothing_are_fitted(sizes: tuple[int, ...]) -> None:
    times = [Timed(Hop(size), 1e-3 + 1e-6 * size, tag="t") for size in sizes for _ in range(5)]
    fit = fit_family(observe(collected(times)))
    assert (0.0,) not in FORMS["hop_ramp"].knobs([Hop(size) for size in sizes])
    assert FORMS["hop_ramp"].terms(Hop(0), "t", 0.0)["t, filling"] == 0
    assert FORMS["hop_ramp"].terms(Hop(1), "t", 0.0)["t, filling"] == 1
    assert fit.predict_s(Hop(sizes[-1])) == pytest.approx(1e-3 + 1e-6 * sizes[-1], rel=0.01)


@pytest.mark.parametrize("amount", [1e300, float("inf"), float("nan"), HUGE])
def test_a_term_too_large_to_fit_is_named(amount: float) -> None:
    rows = [{"pass": 1.0, "pairs": amount}, {"pass": 1.0, "pairs": 2.0}]
    said = refused(lambda: solve(rows, [1e-9, 1e-9]))
    assert "term 'pairs' = " in said
    assert np.isfinite(solve([{"pass": 1.0}] * 2, [1e-9, 1e-9]).values["pass"])
