"""How do raw times become a file, and a file raw times again?

`samples.csv` has one row a raw time, warm-ups included. Columns that an operation does not have
stay empty.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Literal, get_args, get_origin

from streamtwin.calibrate.bounds import AMOUNT, COLUMNS_WITHIN, FLAG, Bounds, number_of, said
from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.device_state import DeviceState
from streamtwin.calibrate.forms import subject_of
from streamtwin.calibrate.harness import WARMUPS, Measurement
from streamtwin.calibrate.state_columns import REASON_COLUMN, STATE_COLUMNS, read_state, state_cells
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import FAMILIES, Family, Op, family_of

KINDS: dict[str, type[Op]] = {family: kind for kind, family in FAMILIES.items()}

OP_COLUMNS = tuple(dict.fromkeys(field.name for kind in KINDS.values() for field in fields(kind)))
CASE_COLUMNS = ("kind", *OP_COLUMNS, "ranks", "tag", "held_out")
COLUMNS = (
    *CASE_COLUMNS,
    "run",
    "rank",
    "repetition",
    "warmup",
    "core_share",
    "began_s",
    *STATE_COLUMNS,
    "seconds",
    "environment",
)

WITHOUT_INSTANTS = tuple(column for column in COLUMNS if column != "began_s")
"""Those of files that do not say when times began."""

CLOCK_S = 1e-6
"""By how much two readings of a clock may contradict each other."""

Row = dict[str, str]
_Taken = tuple[float, float, DeviceState | None, int, float | None]
"""Seconds, share of the core, the card's state, whether it is a warm-up, and when it began: what a
row says beside its case."""

Group = tuple[Family, str, int]


def group_of(case: Case) -> Group:
    """Family, subject and ranks: the cases that one fit covers."""
    return family_of(case.op), subject_of(case.op), case.ranks


def write_samples(path: Path, measurements: Iterable[Measurement], environment: str) -> None:
    """Write every raw time, each with the key of the *environment* it was taken in."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for one in measurements:
            writer.writerows(sample_rows(one, environment))


def sample_rows(one: Measurement, environment: str, since: int = 0) -> Iterator[dict[str, object]]:
    """The rows of a measurement's times, without the first *since* of them."""
    case = _case_columns(one.case)
    states = one.states or (None,) * len(one.times)
    began_s = [repr(each) for each in one.began_s] or [""] * len(one.times)
    taken = list(zip(one.times, one.core_shares, states, began_s, strict=True))
    for repetition, (seconds, share, state, began) in enumerate(taken[since:], since):
        yield case | {
            "run": one.run,
            "rank": one.rank,
            "repetition": repetition,
            "warmup": int(repetition < one.warmups),
            "core_share": repr(share),
            "began_s": began,
            **state_cells(state),
            "seconds": repr(seconds),
            "environment": environment,
        }


def _case_columns(case: Case) -> dict[str, object]:
    op = {name: int(v) if isinstance(v, bool) else v for name, v in asdict(case.op).items()}
    return {
        "kind": family_of(case.op),
        **op,
        "ranks": case.ranks,
        "tag": case.tag,
        "held_out": int(case.held_out),
    }


def read_samples(path: Path, environment: str, finished: bool = True) -> tuple[Measurement, ...]:
    """Read and check the raw times, all taken in *environment*.

    While measuring is not *finished* there may be none yet, or none after a warm-up.

    Raises:
        CalibrationError: names file, line, column and value.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = _measurements(path, csv.DictReader(file, strict=True), environment)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    if not finished:
        return found
    if not found:
        raise CalibrationError(f"{path}: has no raw time")
    for one in found:
        if not one.steady:
            raise CalibrationError(f"{path}: {one.case.op} has no time after its warm-up")
    return found


def _measurements(
    path: Path, reader: "csv.DictReader[str]", environment: str
) -> tuple[Measurement, ...]:
    if tuple(reader.fieldnames or ()) not in (COLUMNS, WITHOUT_INSTANTS):
        raise CalibrationError(f"{path}: columns are not {', '.join(COLUMNS)}")
    taken: dict[tuple[Case, int, int], list[_Taken]] = {}
    for row in reader:
        line = Line(path, reader.line_num, row)
        line.check(environment)
        key = (line.case(), line.integer("run"), line.integer("rank"))
        series = taken.setdefault(key, [])
        warm = line.follows(len(series), all(one[3] for one in series))
        share, state = line.number_in("core_share"), line.state(series)
        series.append((line.seconds(), share, state, warm, line.began_s(series)))
    return tuple(_measurement(*key, taken_) for key, taken_ in taken.items())


def _measurement(case: Case, run: int, rank: int, taken: Sequence[_Taken]) -> Measurement:
    times, shares, states, warm, began_s = zip(*taken, strict=True)
    return Measurement(
        case,
        rank,
        times,
        shares,
        sum(warm),
        run=run,
        states=tuple(filter(None, states)),
        began_s=() if began_s[0] is None else began_s,
    )


class Line:
    """One row of a sample file; every complaint names file, line, column and value."""

    def __init__(self, path: Path, number: int, row: Row) -> None:
        self.path, self.number, self.row = path, number, row

    def wrong(self, column: str, complaint: str) -> CalibrationError:
        """The error to raise about *column*."""
        value = said(self.row.get(column))
        return CalibrationError(f"{self.path}, line {self.number}: {column} = {value}: {complaint}")

    def check(self, environment: str) -> None:
        """The row is whole and was taken in *environment*."""
        missing = [column for column in WITHOUT_INSTANTS if self.row[column] is None]
        if missing or None in self.row:
            raise self.wrong((missing or [COLUMNS[-1]])[0], "the row is cut off or too long")
        if self.row["environment"] != environment:
            raise self.wrong(
                "environment", f"differs from the profile's {environment!r}: environments are mixed"
            )

    def follows(self, count: int, warm_before: bool) -> int:
        """The row is repetition number *count* of its case, and warm-ups come first.

        Returns whether it is one. A case that a run met once has none: its rank had warmed up.
        """
        if self.integer("repetition") != count:
            raise self.wrong("repetition", f"expected {count}: a row is missing or twice there")
        warm = self.integer("warmup")
        if warm > int(count < WARMUPS and warm_before):
            raise self.wrong("warmup", f"only the first {WARMUPS} of a case may be warm-ups")
        return warm

    def integer(self, column: str) -> int:
        """A whole number of at least 0."""
        return int(self.number_in(column, whole=True))

    def number_in(self, column: str, *, whole: bool = False, bounds: Bounds | None = None) -> float:
        """A finite number of at least 0, within *bounds* or else those of the column."""
        try:
            return number_of(
                self.row[column], bounds or COLUMNS_WITHIN.get(column, AMOUNT), whole=whole
            )
        except ValueError as error:
            raise self.wrong(column, str(error)) from None

    def seconds(self) -> float:
        """The raw time."""
        return self.number_in("seconds")

    def began_s(self, before: Sequence[_Taken]) -> float | None:
        """When the time began, after those *before* of the same case; None: nobody noted it."""
        known = bool(self.row.get("began_s"))
        if before and (before[-1][4] is None) == known:
            raise self.wrong("began_s", "all times of a case tell when they began, or none")
        if not known:
            return None
        began_s = self.number_in("began_s")
        ended_s = before[-1][4] + before[-1][0] if before and before[-1][4] is not None else 0.0
        if began_s < ended_s - CLOCK_S:
            raise self.wrong("began_s", f"is before {ended_s!r}, when the time before ended")
        return began_s

    def state(self, before: Sequence[_Taken]) -> DeviceState | None:
        """The card's state; the rows *before* of the same case have one too, or none has."""
        state = read_state(self.row, self.number_in, self.wrong)
        if before and (before[-1][2] is None) != (state is None):
            raise self.wrong(REASON_COLUMN, "all times of a case tell the card's state, or none")
        return state

    def case(self) -> Case:
        """The case that the row belongs to."""
        kind = KINDS.get(self.row["kind"])
        if kind is None:
            raise self.wrong("kind", f"choose one of {', '.join(KINDS)}")
        values = {field.name: self._field(field.name, field.type) for field in fields(kind)}
        op: Op = kind(**values)  # type: ignore[arg-type]
        ranks, held_out = self.integer("ranks"), self.integer("held_out")
        return Case(op, ranks, self.row["tag"], bool(held_out))

    def _field(self, column: str, kind: object) -> str | float | int | bool:
        if kind is str:
            return self.row[column]
        if get_origin(kind) is Literal:
            if self.row[column] not in get_args(kind):
                raise self.wrong(column, f"choose one of {', '.join(get_args(kind))}")
            return self.row[column]
        bounds = FLAG if kind is bool else AMOUNT
        value = self.number_in(column, whole=kind is not float, bounds=bounds)
        if kind is bool:
            return bool(value)
        return value if kind is float else int(value)
