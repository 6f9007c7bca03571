"""Does a profile of a table have the times of the table, and is a bad row told by its line?"""

import csv
from pathlib import Path

import pytest
from calibration_data import ENVIRONMENT, all_cases, noisy

from streamtwin.calibrate.from_table import COLUMNS, profile_from_table
from streamtwin.calibrate.profile import make_profile, read_profile, write_profile
from streamtwin.calibrate.samples import CASE_COLUMNS
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import DitPass, Hop

HEADER = "kind,model,blocks,rows,chunk_latents,tokens,kv_tokens,embeds,unembeds,seconds"
ROWS = [
    f"dit,tiny,{blocks},{rows},1,96,576,1,1,{1e-3 + 2e-3 * blocks * rows}"
    for blocks in (2, 4, 6)
    for rows in (1, 2)
    for _ in range(4)
]


def table(path: Path, rows: list[str] = ROWS, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_short_table_makes_a_profile(tmp_path: Path) -> None:
    made = profile_from_table(table(tmp_path / "times.csv"), "mine")
    assert {one.times for one in made.measurements if one.case.op.blocks == 2} == {
        (1e-3 + 2e-3 * 2 * rows,) * 4 for rows in (1, 2)
    }
    op = DitPass("tiny", 6, 2, 1, 96, 576, True, True)
    assert made.latency_model(1).predict(op).mean_s == pytest.approx(1e-3 + 2e-3 * 12, rel=1e-6)
    assert made.provenance.source.startswith("times.csv (sha256 ")
    assert made.environment.device == "unknown"


def test_the_samples_of_a_profile_are_a_table_after_few_columns_less(tmp_path: Path) -> None:
    own = make_profile("own", ENVIRONMENT, [{"device": "cpu"}], noisy(all_cases(2), 0.01))
    write_profile(own, tmp_path / "own")
    with (tmp_path / "own" / "samples.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k in COLUMNS} for row in csv.DictReader(file)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    made = profile_from_table(tmp_path / "t.csv", "again")
    assert made.measurements == own.measurements
    assert made.fits == own.fits
    write_profile(made, tmp_path / "made")
    assert read_profile(tmp_path / "made").fits == own.fits


def test_a_hop_without_a_situation_has_one_of_its_own(tmp_path: Path) -> None:
    rows = [f"hop,{size},{1e-4 + 1e-9 * size}" for size in (1000, 90000) for _ in range(4)]
    made = profile_from_table(table(tmp_path / "t.csv", rows, "kind,size_bytes,seconds"), "x")
    assert made.latency_model(1).predict(Hop(50000)).mean_s == pytest.approx(1.5e-4, rel=1e-6)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("dit,tiny,2,1,1,96,576,1,1,nan", "line 26: seconds = 'nan': not a finite number"),
        ("dit,tiny,2,1,1,96,576,1,1,-1", "line 26: seconds = '-1'"),
        ("dit,tiny,2,1,1,96,576,1,1,0", "line 26: seconds = '0': no operation takes no time"),
        ("dit,tiny,2,1,1,96,576,1,1", "line 26: is cut off or too long"),
        ("dit,tiny,two,1,1,96,576,1,1,1", "line 26: blocks = 'two': not a number"),
        ("pass,tiny,2,1,1,96,576,1,1,1", "line 26: kind = 'pass': choose one of dit"),
        ("dit,tiny,3,1,1,96,576,1,1,1", r"t.csv: DitPass.* was timed once: give at least 4"),
        ("hop,,,,,,,,,1", "line 26: size_bytes = ''"),
    ],
)
def test_a_bad_row_is_told_with_its_line(line: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=complaint):
        profile_from_table(table(tmp_path / "t.csv", [*ROWS, line]), "x")


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (HEADER.replace("seconds", "ms"), "column 'seconds' is missing"),
        (HEADER.replace("kv_tokens", "keys"), "column 'keys' is unknown; choose of kind"),
        (HEADER.replace("blocks", "rows"), "a column is there twice"),
    ],
)
def test_a_bad_header_is_told_what_it_may_have(header: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=complaint):
        profile_from_table(table(tmp_path / "t.csv", header=header), "x")


def test_an_empty_table_and_one_of_too_few_operations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="has no row"):
        profile_from_table(table(tmp_path / "t.csv", []), "x")
    with pytest.raises(CalibrationError, match=r"t.csv: dit of tiny .* at least 3"):
        profile_from_table(table(tmp_path / "t.csv", ROWS[:8]), "x")


def test_every_column_of_a_case_may_stand_in_a_table() -> None:
    assert set(CASE_COLUMNS) <= set(COLUMNS)
