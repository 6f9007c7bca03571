"""Which figures of others may a profile be fitted to? Those of one card, with their source.

`published.csv` has one row a figure. `blocks` is how many blocks the device ran; `gpus` how many
devices the deployment had. Frame rates of several devices depend on how they are scheduled, so
they are for checking predictions and never for fitting: they are refused here.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from streamtwin.core.errors import CalibrationError

Metric = Literal["fps", "pass_ms", "encode_ms", "decode_ms"]

COLUMNS = ("model", "height", "width", "gpus", "steps", "stream_batch", "blocks", "metric", "value", "source")  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One figure: frames/s of one device, or milliseconds of one of its services.

    `steps` are denoising steps, with a stream batch also the rows of a pass.
    """

    model: str
    height: int
    width: int
    gpus: int
    steps: int
    stream_batch: bool
    blocks: int
    metric: Metric
    value: float
    source: str

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def rows(self) -> int:
        """Rows of one pass."""
        return self.steps if self.stream_batch else 1

    @property
    def passes(self) -> int:
        """Passes that a chunk takes on the device, of `rows` rows each, per finished chunk."""
        return 1 if self.stream_batch else self.steps

    @property
    def label(self) -> str:
        """The figure in a few words."""
        batch = "" if self.stream_batch else ", no stream batch"
        blocks = f" of {self.blocks} blocks" if self.metric == "pass_ms" else ""
        what = f"{self.metric.removesuffix('_ms')}{blocks}"
        return f"{self.model} {self.height}x{self.width} N={self.steps} {what}{batch}"


def read_rows(path: Path) -> tuple[PublishedRow, ...]:
    """Read and check published figures.

    Raises:
        CalibrationError: names file, line, column and value.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise CalibrationError(f"{path}: columns are not {', '.join(COLUMNS)}")
            rows = tuple(_row(path, reader.line_num, values) for values in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    if not rows:
        raise CalibrationError(f"{path}: has no figure")
    if len(set(rows)) < len(rows):
        raise CalibrationError(f"{path}: a figure stands there twice")
    return rows


def _row(path: Path, line: int, values: dict[str, str]) -> PublishedRow:
    cell = _Cell(path, line, values)
    row = PublishedRow(
        model=cell.text("model"),
        height=cell.count("height"),
        width=cell.count("width"),
        gpus=cell.count("gpus"),
        steps=cell.count("steps"),
        stream_batch=cell.choice("stream_batch", ("on", "off")) == "on",
        blocks=cell.count("blocks"),
        metric=cell.choice("metric", get_args(Metric)),  # type: ignore[arg-type]
        value=cell.positive("value"),
        source=cell.text("source"),
    )
    if row.metric == "fps" and row.gpus > 1:
        raise cell.wrong("gpus", "frame rates of several devices are never fitted")
    return row


@dataclass(frozen=True, slots=True)
class _Cell:
    """The cells of one line; every complaint names file, line, column and value."""

    path: Path
    line: int
    values: dict[str, str]

    def wrong(self, column: str, complaint: str) -> CalibrationError:
        """The error to raise about *column*."""
        value = self.values.get(column)
        return CalibrationError(f"{self.path}, line {self.line}: {column} = {value!r}: {complaint}")

    def text(self, column: str) -> str:
        """A text that is not empty."""
        value = self.values.get(column)
        if not value:
            raise self.wrong(column, "is missing")
        return value

    def choice(self, column: str, known: tuple[str, ...]) -> str:
        """One of *known*."""
        value = self.text(column)
        if value not in known:
            raise self.wrong(column, f"choose one of {', '.join(known)}")
        return value

    def positive(self, column: str) -> float:
        """A finite number above 0."""
        try:
            value = float(self.text(column))
        except ValueError:
            raise self.wrong(column, "not a number") from None
        if not (math.isfinite(value) and value > 0):
            raise self.wrong(column, "give a finite number above 0")
        return value

    def count(self, column: str) -> int:
        """A whole number above 0."""
        value = self.positive(column)
        if value != int(value):
            raise self.wrong(column, "give a whole number")
        return int(value)
