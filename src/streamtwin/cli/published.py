"""`streamtwin validate --published`: does the twin meet published results that it has not seen?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer

from streamtwin.cli.output import progress, remark, result_folder, show
from streamtwin.core.checks import UNITS, Cell, Publication, publication
from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.library import find_scenario
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.reports.published_cells import CellView, PublishedView
    from streamtwin.sim.services import Level

FREE = (
    "profile", "extrapolate", "seed", "workload.chunks", "deployment.protocol", "deployment.decode",
    "deployment.wrap_activations", "deployment.partition",
)  # fmt: skip
"""What one may change of the scenario: the rest is the cells' own, or would be of something else."""

LEVELS: tuple["Level", ...] = ("mean", "low", "high")


def validate_published(
    name: str, overrides: Sequence[str], out: Path | None, *, as_json: bool, check: bool
) -> None:
    """Predict every cell of the publication *name*, show it beside what was published.

    Raises:
        UserError: there is no such publication, or a profile cannot answer for a cell.
    """
    from streamtwin.reports.published_page import published_tables, render_published  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    asked = publication(name)
    _check_overrides(asked, overrides)
    folder = None if out is None else result_folder(out, name, "validate")
    view = _predict_all(asked, tuple(overrides))
    document = _document(view)
    show(document, published_tables(view), as_json)
    if folder is not None:
        write_text(folder / "validation.json", json.dumps(document, indent=2))
        write_text(folder / "report.html", render_published(view))
        remark(f"report: {folder / 'report.html'}")
    if check and not view.ok:
        raise typer.Exit(1)


def refuse_beside_published(
    scenario: str | None, video: Path | None, *, suite: bool, real: bool
) -> None:
    """Refuse what a comparison with published results cannot take; *real*: options of real runs.

    Raises:
        UserError: names the argument.
    """
    if scenario is not None:
        raise UserError(f"{scenario}: --published brings its own scenario; give none")
    if suite:
        raise UserError("--suite: --published runs nothing; give one of the two")
    if real:
        raise UserError(
            "--published runs nothing: give no --repeats, --budget, --device or --hang-timeout"
        )
    if video is not None:
        raise UserError(f"--input {video}: --published runs nothing; give no video")


def _check_overrides(asked: Publication, overrides: Sequence[str]) -> None:
    """Refuse keys that cells decide."""
    for given in overrides:
        key = given.partition("=")[0].strip()
        if not any(key == one or key.startswith(f"{one}.") for one in FREE):
            raise UserError(
                f"--set {given}: --published {asked.name} says for every cell what runs; of the "
                f"scenario choose {', '.join(FREE)} only"
            )


def _check_steady(cell: Cell, records: Records) -> None:
    """Refuse a run that says nothing of the cell: not steady, or blocks that have not moved.

    Raises:
        ScenarioError: says what helps.
    """
    metrics = compute_metrics(records)
    unmoved = cell.blocks is not None and not metrics["moves"]
    if unmoved or not metrics["steady_reached"]:
        what = "no blocks moved" if unmoved else "the run has no steady window"
        raise ScenarioError(f"{cell.label}: {what}; lengthen workload.chunks")


def _predict_all(asked: Publication, overrides: tuple[str, ...]) -> "PublishedView":
    from streamtwin.cli.profiles import profile_of  # noqa: PLC0415
    from streamtwin.reports.published_cells import PublishedView  # noqa: PLC0415

    profile = profile_of(find_scenario(asked.scenario, overrides))
    cells = []
    with progress("predicting", len(asked.cells)) as bar:
        for done, cell in enumerate(asked.cells, 1):
            cells.append(_predict(asked, cell, overrides, profile))
            bar.at(done, cell.label)
    return PublishedView(asked, f"{profile.name} ({profile.provenance})", tuple(cells))


def _predict(
    asked: Publication, cell: Cell, overrides: tuple[str, ...], profile: "Profile"
) -> "CellView":
    """Simulate the deployment of *cell* as expected, and at both ends of the profile's intervals."""
    from streamtwin.cli.predict import long_enough, plan_of  # noqa: PLC0415
    from streamtwin.cli.profiles import latency_of  # noqa: PLC0415
    from streamtwin.reports.published_cells import CellView  # noqa: PLC0415
    from streamtwin.sim.replicas import simulate_deployment  # noqa: PLC0415

    scenario = find_scenario(asked.scenario, (*overrides, *cell.overrides))
    plan, latency = plan_of(scenario, profile), latency_of(profile, scenario)
    with long_enough(plan):
        runs = [simulate_deployment(plan, latency, level=level) for level in LEVELS]
        _check_steady(cell, runs[0])
    values = [_value(cell, records) for records in runs]
    said = runs[0].info.provenance["service_times"]
    return CellView(cell, values[0], min(values), max(values), said, _note(cell, runs[0]))


def _value(cell: Cell, records: Records) -> float:
    """What *records* say of the cell: frames/s or seconds."""
    metrics = compute_metrics(records)
    if cell.metric == "fps":
        return float(metrics["fps"])
    if cell.metric == "first_frame_s":
        return float(metrics["ttff_warm_s"])
    began_s, ended_s = metrics["steady_window_s"]
    passes = [s for s in records.spans if s.kind == "dit" and s.rank == cell.rank]
    return fmean(s.seconds for s in passes if began_s <= s.began_s and s.ended_s <= ended_s)


def _note(cell: Cell, records: Records) -> str:
    """Blocks of every rank behind the move, or what the first frame of the stream itself takes."""
    metrics = compute_metrics(records)
    if cell.metric == "first_frame_s":
        return f"{1e3 * metrics['ttff_s']:.0f} ms for the stream's own first chunk"
    moves = metrics["moves"]
    counts = moves[-1]["blocks"] if moves else []
    published = "" if cell.blocks is None else f", published {cell.blocks} on rank {cell.rank}"
    return f"blocks {'/'.join(map(str, counts))}{published}" if counts else ""


def _document(view: "PublishedView") -> dict[str, Any]:
    """The comparison for programs; frames/s and seconds."""
    return {
        "schema": 1,
        "publication": view.publication.publication,
        "scenario": view.publication.scenario,
        "profile": view.profile,
        "ok": view.ok,
        "bounds": [{**asdict(one), "kept": one.kept} for one in view.verdicts],
        "inside_intervals": [view.inside, len(view.cells)],
        "cells": [
            {
                **one.cell.model_dump(mode="json", exclude_none=True),
                "unit": "frames/s" if UNITS[one.cell.metric] == "frames/s" else "s",
                "predicted": one.predicted,
                "interval": [one.low, one.high],
                "error": one.error,
                "provenance": one.provenance,
                "note": one.note,
            }
            for one in view.cells
        ],
    }
