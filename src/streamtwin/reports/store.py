"""What does the folder of one run hold, and how is it written and read?

`scenario.yaml` (as resolved), `records.parquet`, `metrics.json` and `timeline.json` (opens in
Perfetto). The records suffice to make the others again.
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

__all__ = ["Run", "read_records", "read_run", "write_records", "write_run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its folder holds it."""

    records: Records
    metrics: dict[str, Any]
    scenario_yaml: str


def write_run(
    folder: Path, records: Records, metrics: Mapping[str, Any], scenario_yaml: str
) -> None:
    """Write one run to *folder*, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.yaml").write_text(scenario_yaml, encoding="utf-8")
    write_records(records, folder / "records.parquet")
    _write_json(folder / "metrics.json", metrics, indent=2)
    _write_json(folder / "timeline.json", timeline({records.info.source: records}))


def read_run(folder: Path) -> Run:
    """Read the run in *folder*.

    Raises:
        UserError: a file is missing, damaged, or not of this program.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give the --out folder of an earlier run")
    records = read_records(folder / "records.parquet")
    metrics = _read_metrics(folder / "metrics.json")
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


def _write_json(path: Path, value: Mapping[str, Any], indent: int | None = None) -> None:
    separators = (",", ":") if indent is None else None
    text = json.dumps(finite_or_null(value), indent=indent, separators=separators, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


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
