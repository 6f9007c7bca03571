"""What has been measured so far, and is it still there after a crash?

While a calibration runs, the folder beside its profile-to-be holds `journal.yaml` (what was asked
and where), `samples.csv` (the times, appended as they are taken) and `starts.csv` (which starts
began and ended, and the seconds they took). It is no profile: that has a `meta.yaml`.
"""

import csv
import fcntl
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.expected import LEAST_TIMES
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.journal_files import count_in, drop_torn_line, rows_of, seconds_in
from streamtwin.calibrate.meta import plain
from streamtwin.calibrate.samples import COLUMNS, read_samples, sample_rows
from streamtwin.core.errors import CalibrationError, UserError

HEAD, TIMES, STARTS, LOCK = "journal.yaml", "samples.csv", "starts.csv", "lock"
SCHEMA = 2

START_COLUMNS = ("sweep", "part", "run", "event", "seconds")
ANEW = "start anew with --fresh"


@dataclass(slots=True)
class _Begun:
    """A start of a part's processes; `seconds` is what it took as far as is known."""

    sweep: int
    part: str
    run: int
    seconds: float = 0.0
    done: bool = False


class Journal:
    """The times taken so far, in memory and, unless *folder* is None, in a folder."""

    def __init__(self, folder: Path | None, environment: str) -> None:
        self.folder, self.environment = folder, environment
        self.taken: dict[tuple[Case, int, int], Measurement] = {}
        self.starts: list[_Begun] = []
        self.remarks: list[str] = []
        """What somebody who goes on from here should know."""

    @property
    def spent_s(self) -> float:
        """Seconds that measuring has taken so far."""
        return sum(start.seconds for start in self.starts)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All that have enough times; of a start that was cut short the others are fragments."""
        return tuple(one for one in self.taken.values() if len(one.times) >= LEAST_TIMES)

    def is_done(self, sweep: int, part: str) -> bool:
        """Whether *part* has been measured to the end in that round of starts."""
        return any(s.done for s in self.starts if (s.sweep, s.part) == (sweep, part))

    def missing(self, sweep: int, part: str, cases: Iterable[Case]) -> tuple[Case, ...]:
        """The *cases* of *part* that no start of that round of starts has timed often enough."""
        runs = [s.run for s in self.starts if (s.sweep, s.part) == (sweep, part)]
        return tuple(case for case in cases if not any(self._enough(case, run) for run in runs))

    def _enough(self, case: Case, run: int) -> bool:
        found = [one for key, one in self.taken.items() if key[0] == case and key[1] == run]
        return bool(found) and all(len(one.times) >= LEAST_TIMES for one in found)

    def begin(self, sweep: int, part: str) -> int:
        """Note that *part* starts, and say which start of it this is."""
        run = sum(start.part == part for start in self.starts)
        self.starts.append(_Begun(sweep, part, run))
        self._note("begun", 0.0)
        return run

    def take(self, measured: Iterable[Measurement], seconds: float) -> None:
        """Keep what the running start has measured in the *seconds* since it began."""
        start = self.starts[-1]
        rows: list[dict[str, object]] = []
        for one in measured:
            key = (one.case, start.run, one.rank)
            old = self.taken.get(key)
            self.taken[key] = replace(one, run=start.run)
            rows += sample_rows(self.taken[key], self.environment, len(old.times) if old else 0)
        self._append(TIMES, COLUMNS, rows)
        self._note("running", seconds)

    def end(self) -> None:
        """Note that the running start has measured all that it should."""
        self._note("done", self.starts[-1].seconds)

    def _note(self, event: str, seconds: float) -> None:
        start = self.starts[-1]
        start.seconds, start.done = seconds, event == "done"
        row = {"sweep": start.sweep, "part": start.part, "run": start.run}
        self._append(STARTS, START_COLUMNS, [{**row, "event": event, "seconds": repr(seconds)}])

    def _append(self, name: str, columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
        if self.folder is None or not rows:
            return
        with (self.folder / name).open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerows(rows)

    def remove(self) -> None:
        """Let go of the folder: the profile holds all of it."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def partial_folder(out: Path) -> Path:
    """Where the journal of the profile *out* lies."""
    return out.with_name(f"{out.name}.partial")


def lock(folder: Path) -> int:
    """Make *folder* and take it until the handle that is returned is closed, or the process ends.

    Raises:
        UserError: another process calibrates there, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise UserError(
            f"{folder}: process {holder or 'of another command'} is calibrating there; wait for "
            "it, or give another --out"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
    return handle


def open_journal(
    folder: Path, asked: dict[str, object], environment: Environment, *, fresh: bool = False
) -> Journal:
    """The journal in *folder*, gone on with if there is one; *fresh* begins anew.

    *asked* is what is to be measured, in values that YAML knows.

    Raises:
        CalibrationError: what is there was asked otherwise, comes from another environment, or is
            damaged; says how to begin anew.
    """
    head = folder / HEAD
    if fresh or not head.exists():
        for name in (HEAD, TIMES, STARTS):
            (folder / name).unlink(missing_ok=True)
        content = {"schema": SCHEMA, "asked": plain(asked), "environment": environment.as_dict()}
        draft = folder / f".{HEAD}"
        draft.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        draft.rename(head)  # a head is whole or not there
        return Journal(folder, environment.key)
    _check_same(head, plain(asked), environment)
    journal = Journal(folder, environment.key)
    _read(journal, folder)
    return journal


def _check_same(head: Path, asked: dict[str, Any], environment: Environment) -> None:
    try:
        content = yaml.safe_load(head.read_text("utf-8"))
        schema, before = content["schema"], content["asked"]
        there = Environment(**content["environment"])
        if not isinstance(before, dict):
            raise TypeError("asked is not a mapping of keys")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError) as error:
        words = str(error)[:80] or type(error).__name__
        raise CalibrationError(f"{head}: is damaged ({words}): {ANEW}") from error
    differences = there.differences(environment)
    differences += [
        f"{name} = {before.get(name)} (now {value})"
        for name, value in asked.items()
        if before.get(name) != value
    ]
    if schema != SCHEMA:
        differences = [f"schema = {schema} (now {SCHEMA})"]
    if differences:
        raise CalibrationError(
            f"{head.parent} holds a calibration that stopped half-way and cannot be gone on with: "
            f"{', '.join(differences)}; {ANEW}"
        )


def _read(journal: Journal, folder: Path) -> None:
    """Fill *journal* from its files, without last lines that were cut off."""
    for name in (TIMES, STARTS):
        if drop_torn_line(folder / name):
            journal.remarks.append(f"{folder / name}: its last line was cut off and is dropped")
    try:
        if (folder / TIMES).exists() and (folder / TIMES).stat().st_size:
            found = read_samples(folder / TIMES, journal.environment, finished=False)
            journal.taken = {(one.case, one.run, one.rank): one for one in found}
        for row in rows_of(folder / STARTS):
            key = count_in(row, "sweep"), row["part"], count_in(row, "run")
            known = [s for s in journal.starts if (s.sweep, s.part, s.run) == key]
            start = known[0] if known else _Begun(*key)
            start.seconds, start.done = seconds_in(row), row["event"] == "done"
            journal.starts += [] if known else [start]
    except (CalibrationError, KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise CalibrationError(f"{folder}: is damaged ({error}): {ANEW}") from error
