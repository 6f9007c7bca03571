"""What does the folder of one run hold, and how is it written and read?

`scenario.yaml` (as resolved), `records.parquet`, `timeline.json` (opens in Perfetto),
`report.html` where a page was made, and `metrics.json`, which is written last: a folder without it
was not finished. The records suffice to make the others again. Other files in the folder stay.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamtwin.core.errors import UserError
from streamtwin.core.records import Records
from streamtwin.reports.perfetto import timeline
from streamtwin.reports.records_file import read_records, write_records
from streamtwin.reports.whole_file import replace_file, write_text

FILES = ("metrics.json", "scenario.yaml", "records.parquet", "timeline.json", "report.html")
"""Ours in the folder of a run, in the order in which old ones are removed."""

__all__ = ["Run", "read_records", "read_run", "write_records", "write_run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its folder holds it."""

    records: Records
    metrics: dict[str, Any]
    scenario_yaml: str


def write_run(
    folder: Path,
    records: Records,
    metrics: Mapping[str, Any],
    scenario_yaml: str,
    page: str | None = None,
) -> None:
    """Write one run, with its HTML *page* if there is one, to *folder*, made where missing.

    An earlier run goes first, so that whatever interrupts this leaves no folder that is half one
    run and half another. Swapping whole folders was rejected: the run's video lies there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    write_text(folder / "scenario.yaml", scenario_yaml)
    replace_file(folder / "records.parquet", lambda draft: write_records(records, draft))
    write_text(folder / "timeline.json", _json(timeline({records.info.source: records})))
    if page is not None:
        write_text(folder / "report.html", page)
    write_text(folder / "metrics.json", _json(metrics, indent=2))


def read_run(folder: Path) -> Run:
    """Read the run in *folder*.

    Raises:
        UserError: a file is missing, damaged, or not of this program.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give the --out folder of an earlier run")
    if not (folder / "metrics.json").exists():
        raise UserError(f"{folder}: has no metrics.json: not a run, or one that was not finished")
    metrics = _read_metrics(folder / "metrics.json")
    records = read_records(folder / "records.parquet")
    return Run(records, metrics, _read_text(folder / "scenario.yaml"))


def finite_or_null(value: object) -> object:
    """Copy nested *value* with None for every number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): finite_or_null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    plain = finite_or_null(value)
    return json.dumps(plain, indent=indent, separators=separators, allow_nan=False) + "\n"


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(metrics, dict) or "fps" not in metrics:
        raise UserError(f"{path}: not the metrics of a run")
    return metrics


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
