"""Which profile follows from a table of times that a user has?

CSV with a header. `kind` and `seconds` are needed, and the fields of each kind of operation in
columns of their names: pixels (`height`, `width`), tokens, latent frames, `size_bytes`. `ranks`,
`rank`, `run`, `tag`, `held_out` and `core_share` may be there. One row is one time.
"""

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from streamtwin.calibrate.gathered import (
    Origin,
    Timed,
    check_enough,
    collected,
    date_of,
    environment_from,
    naming,
    profile_of,
    source_of,
)
from streamtwin.calibrate.profile import Profile
from streamtwin.calibrate.samples import CASE_COLUMNS, Line, Row
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import family_of

NEEDED = ("kind", "seconds")

OPTIONAL = {
    "ranks": "1", "tag": "", "held_out": "0", "rank": "0", "run": "0", "core_share": "1",
}  # fmt: skip
"""Columns that may be left out, and what they are taken for."""

COLUMNS = tuple(dict.fromkeys((*NEEDED, *CASE_COLUMNS, *OPTIONAL)))

IN_A_TABLE = "in a table"
"""Tag of a hop of which the table does not say who waited."""


def profile_from_table(path: Path, name: str, device: str = "cpu") -> Profile:
    """The profile *name* of the times in *path*, taken on a *device* of that kind.

    Raises:
        CalibrationError: names file, line, column and value.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
        times = list(_times(path, text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    if not times:
        raise CalibrationError(f"{path}: has no row")
    known = {"date": date_of(path)}
    origin = Origin(source_of(path, content), environment_from(known), device)
    with naming(path):
        measurements = collected(times)
        check_enough(measurements)
        return profile_of(name, origin, measurements)


def _times(path: Path, text: str) -> Iterator[Timed]:
    reader = csv.DictReader(StringIO(text), strict=True)
    given = tuple(reader.fieldnames or ())
    for column in NEEDED:
        if column not in given:
            raise CalibrationError(f"{path}: column {column!r} is missing; {', '.join(COLUMNS)}")
    unknown = [column for column in given if column not in COLUMNS]
    if unknown or len(set(given)) < len(given):
        what = f"column {unknown[0]!r} is unknown" if unknown else "a column is there twice"
        raise CalibrationError(f"{path}: {what}; choose of {', '.join(COLUMNS)}")
    for row in reader:
        if None in row or None in row.values():
            raise CalibrationError(f"{path}, line {reader.line_num}: is cut off or too long")
        yield _timed(Line(path, reader.line_num, _completed(row)))


def _completed(row: Row) -> Row:
    """The row with what was left out; a column that the table lacks is empty."""
    given = {column: text for column, text in row.items() if text}
    return {**dict.fromkeys(COLUMNS, ""), **OPTIONAL, **given}


def _timed(line: Line) -> Timed:
    case = line.case()
    return Timed(
        op=case.op,
        seconds=line.seconds(),
        ranks=case.ranks,
        rank=line.integer("rank"),
        run=line.integer("run"),
        tag=case.tag or (IN_A_TABLE if family_of(case.op) == "hop" else ""),
        held_out=case.held_out,
        core_share=line.number_in("core_share"),
    )
