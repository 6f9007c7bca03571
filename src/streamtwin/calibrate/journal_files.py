"""How are the lines of a journal read again, whole ones only?"""

import csv
import os
from pathlib import Path

from streamtwin.calibrate.plausible import MAX_SERVICE_S

MAX_COUNT = 1000
"""More starts or sweeps than any calibration has."""


def count_in(row: dict[str, str], column: str) -> int:
    """A small whole number; ValueError names column and value."""
    value = int(row[column])
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{column} = {value}: give 0 to {MAX_COUNT}")
    return value


def seconds_in(row: dict[str, str]) -> float:
    """Seconds that a start may have taken; ValueError names the value."""
    value = float(row["seconds"])
    if not 0 <= value <= MAX_SERVICE_S:
        raise ValueError(f"seconds = {value}: give 0 to {MAX_SERVICE_S:g}")
    return value


def rows_of(path: Path) -> list[dict[str, str]]:
    """The lines of *path*; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def drop_torn_line(path: Path) -> bool:
    """Cut off what follows the last line end of *path*; whether there was anything."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return whole < len(content)
