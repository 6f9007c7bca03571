"""How do results reach people, programs and files?"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamtwin.cli.claim import MARK, check_entries, claim
from streamtwin.core.brief import cut
from streamtwin.core.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table


RESULTS = ("records.parquet", "metrics.json", "validation.json", "out.mp4", MARK)
"""Of these a result folder holds at least one."""

WRITTEN = (*RESULTS, "scenario.yaml", "report.html", "scoreboard.html", "timeline.json")
"""Files that a command may write into a result folder."""


def complain(message: str) -> None:
    """Print an error for people on stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"streamtwin: {message}", markup=False
    )


def remark(message: str) -> None:
    """Print something worth knowing on stderr, so that stdout stays the result's."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(message, markup=False)


def show(document: Mapping[str, Any], tables: Sequence["Table"], as_json: bool) -> None:
    """Print the result: one JSON document, or tables."""
    if as_json:
        print(json.dumps(document, indent=2, allow_nan=False))
        return
    console = Console()
    for table in tables:
        console.print(table)


@contextmanager
def progress(text: str, total: float) -> Iterator["Bar"]:
    """Show a progress bar on stderr while the block runs; only the end where nobody watches."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as display:
        task = display.add_task(text, total=total)
        yield Bar(display, task)


class Bar:
    """A progress bar that is told how far the work is."""

    def __init__(self, display: Progress, task: Any) -> None:  # noqa: ANN401 - rich's TaskID
        self._display, self._task = display, task

    def beyond(self, base: float, text: str) -> Callable[[float], None]:
        """A counter that starts at *base* of the total."""

        def count(done: float) -> None:
            self.at(base + done, text)

        return count

    def step(self) -> None:
        """Count one more."""
        self._display.advance(self._task)

    def at(self, done: float, text: str | None = None) -> None:
        """Show *done* of the total, and *text* beside it."""
        if text is None:
            self._display.update(self._task, completed=done)
        else:
            self._display.update(self._task, completed=done, description=text)


class Together:
    """One bar, up to 2, for two works that are done by turns."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._shares = bar, [0.0, 0.0]

    def first(self, share: float, text: str) -> None:
        """So much of the first work is done."""
        self._at(0, share, text)

    def second(self, share: float, text: str) -> None:
        """So much of the second work is done."""
        self._at(1, share, text)

    def _at(self, which: int, share: float, text: str) -> None:
        self._shares[which] = share
        self._bar.at(sum(self._shares), text)


def result_folder(out: Path | None, name: str, verb: str) -> Path:
    """The folder that *out* names, made and writable, or a new one under `runs/`.

    A folder that holds an earlier result is taken and its result replaced.

    Raises:
        UserError: it cannot be made or written, holds something else, or is in use.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = Path("runs", f"{stamp}-{name}-{verb}") if out is None else out
    check_free(folder, RESULTS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_entries(folder, WRITTEN)
        claim(folder)
    except OSError as error:
        raise UserError(f"--out {cut(str(folder))}: cannot be written: {error.strerror}") from error
    return folder


def check_free(folder: Path, known: Collection[str]) -> None:
    """Refuse to write into a folder that holds other things than what stands in *known* there.

    Raises:
        UserError: it does, or it is a file.
    """
    try:
        there = folder.exists()
    except OSError as error:
        raise UserError(f"--out {str(folder)[:80]}: {error.strerror}; give a folder") from error
    if there and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; give a folder")
    found = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if found and not found & set(known):
        raise UserError(
            f"--out {folder}: holds {min(found)!r} and no earlier result; give a new folder"
        )
