"""Which sessions does a trace file say, and where is it wrong?"""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from streamtwin.core.errors import ScenarioError
from streamtwin.core.section import MAX_SECONDS, MAX_SESSIONS

COLUMNS = ("session", "join_s", "duration_s", "class")
"""Columns of a trace of sessions; the last may be missing."""


@dataclass(frozen=True, slots=True)
class TraceVisit:
    """One line: the session's number, when it joined and for how long it sent frames, its class."""

    session: int
    join_s: float
    duration_s: float
    session_class: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a CSV file, by column, and where it stands."""

    path: Path
    number: int
    values: Mapping[str, str]

    def wrong(self, column: str, why: str) -> ScenarioError:
        """The error that says where, which column, which value, and *why*."""
        return ScenarioError(
            f"{self.path}:{self.number}: column {column} = {self.values[column][:80]!r}: {why}"
        )

    def number_of(self, column: str, least: float = 0.0, most: float = inf) -> float:
        """The finite number in *column*, from *least* to *most*.

        Raises:
            ScenarioError: it is none.
        """
        value = self._parsed(column, float, "a number", least)
        if value > most:
            raise self.wrong(column, f"give at most {most:g}")
        return value

    def whole_of(self, column: str) -> int:
        """The whole number in *column*, at least 0.

        Raises:
            ScenarioError: it is none.
        """
        return int(self._parsed(column, int, "a whole number", 0))

    def _parsed(self, column: str, parse: Callable[[str], float], kind: str, least: float) -> float:
        try:
            value = parse(self.values[column])
        except ValueError as error:
            raise self.wrong(column, f"give {kind}") from error
        if not least <= value < inf:
            raise self.wrong(column, f"give {kind} of at least {least:g}")
        return value


def lines_of(path: Path, needed: Collection[str], known: Collection[str]) -> Iterator[Line]:
    """The lines of the CSV file *path* below its header, empty ones left out.

    Raises:
        ScenarioError: it cannot be read, its header lacks a *needed* column or has one that is not
            *known*, or a line has more or fewer values than the header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: cannot be read as a trace: {error}") from error
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(rows, [])]
        lines = [(rows.line_num, values) for values in rows]
    except csv.Error as error:
        raise ScenarioError(f"{path}:{rows.line_num}: {error}") from error
    missing = [name for name in needed if name not in header]
    odd = [name for name in header if name not in known or header.count(name) > 1]
    if missing or odd:
        what = f"lacks {', '.join(missing)}" if missing else f"has {odd[0][:80]!r}"
        raise ScenarioError(f"{path}:1: its header {what}; columns are {', '.join(known)}")
    for number, values in lines:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            raise ScenarioError(
                f"{path}:{number}: has {len(values)} values, its header {len(header)}"
            )
        cells = (value.strip() for value in values)
        yield Line(path, number, dict(zip(header, cells, strict=True)))


def read_visits(path: Path, classes: Collection[str]) -> tuple[TraceVisit, ...]:
    """The sessions of the trace *path*, in its order.

    Raises:
        ScenarioError: with file, line, column and value: it is empty, too long, goes back in time,
            repeats a session, or names none of the *classes*.
    """
    found: dict[int, TraceVisit] = {}
    last_s = 0.0
    for line in lines_of(path, COLUMNS[:3], COLUMNS):
        visit = _visit(line, classes)
        if visit.session in found:
            raise line.wrong("session", "this session stands in an earlier line already")
        if visit.join_s < last_s:
            raise line.wrong("join_s", f"times must not go back, the line before says {last_s:g}")
        if len(found) == MAX_SESSIONS:
            raise line.wrong("session", f"one run takes at most {MAX_SESSIONS} sessions")
        last_s, found[visit.session] = visit.join_s, visit
    if not found:
        raise ScenarioError(f"{path}: has no session below its header")
    return tuple(found.values())


def _visit(line: Line, classes: Collection[str]) -> TraceVisit:
    named = line.values.get("class") or None
    if named is not None and named not in classes:
        legal = f"choose one of {', '.join(classes)}" if classes else "workload.classes has none"
        raise line.wrong("class", legal)
    if named is None and classes and "class" in line.values:
        raise line.wrong("class", f"choose one of {', '.join(classes)}")
    duration_s = line.number_of("duration_s", most=MAX_SECONDS)
    if duration_s == 0:
        raise line.wrong("duration_s", "give more than 0 seconds")
    return TraceVisit(
        line.whole_of("session"), line.number_of("join_s", most=MAX_SECONDS), duration_s, named
    )
