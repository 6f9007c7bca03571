"""What does a result folder hold?"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from streamtwin.core.records import Records
from streamtwin.core.run_info import ENVIRONMENT

if TYPE_CHECKING:
    from streamtwin.calibrate.environment import Environment
    from streamtwin.calibrate.profile import Profile
    from streamtwin.reports.figures.fit import FitPoint


def scenario_yaml(records: Records) -> str:
    """The scenario as it was resolved, every default written out."""
    return yaml.safe_dump(dict(records.info.scenario), sort_keys=False, allow_unicode=True)


def save_records(folder: Path, records: Records) -> None:
    """Write what happened, whatever becomes of it: a run too short for metrics is kept too."""
    from streamtwin.reports.store import write_records  # noqa: PLC0415

    write_records(records, folder / "records.parquet")


def save_run(
    folder: Path, records: Records, metrics: Mapping[str, Any], profile: "Profile | None"
) -> Path:
    """Write one run with its page to *folder*; returns the page."""
    from streamtwin.reports.page import render_run  # noqa: PLC0415
    from streamtwin.reports.store import write_run  # noqa: PLC0415

    text = scenario_yaml(records)
    points = fit_points(profile) if profile is not None else []
    environment = environment_of(profile) if profile is not None else where_run(records)
    page = render_run(
        records, scenario_yaml=text, environment=environment, fit_points=points, stated=metrics
    )
    write_run(folder, records, metrics, text, page)
    return folder / "report.html"


def run_environment(here: "Environment") -> dict[str, str]:
    """What a run's records say of where it ran: in short, and whole for who learns from it."""
    return {"host": f"{here.host}, {here.device}", "date": here.date, ENVIRONMENT: here.stated()}


def where_run(records: Records) -> dict[str, str]:
    """Where the run of *records* was, for people; nothing where they do not say it."""
    stated = json.loads(records.info.provenance.get(ENVIRONMENT, "{}"))
    return {str(key): str(value) for key, value in stated.items()}


def environment_of(profile: "Profile") -> dict[str, str]:
    """Where the profile was measured, for people."""
    return {key: str(value) for key, value in profile.environment.as_dict().items()}


def fit_points(profile: "Profile") -> list["FitPoint"]:
    """The calibration's points as the figures take them."""
    from streamtwin.core.ops import DitPass  # noqa: PLC0415
    from streamtwin.reports.figures.fit import FitPoint  # noqa: PLC0415

    return [
        FitPoint(
            family=fit.family,
            label=point.tag,
            blocks=point.op.blocks if isinstance(point.op, DitPass) else 0,
            rows=point.op.rows if isinstance(point.op, DitPass) else 0,
            measured_s=point.measured_s,
            predicted_s=point.predicted_s,
            low_s=fit.interval_s(point.op, point.tag)[0],
            high_s=fit.interval_s(point.op, point.tag)[1],
            held_out=point.held_out,
            stable=point.stable,
            ranks=point.ranks,
        )
        for fit in profile.fits
        for point in fit.points
    ]
