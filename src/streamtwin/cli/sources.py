"""How does `streamtwin calibrate` make a profile of what a user already has?

Of a trace or a table (`--from-trace`), or of earlier real runs (`--from-runs`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamtwin.cli.output import check_free, remark
from streamtwin.core.errors import CalibrationError, UserError
from streamtwin.core.records import Records
from streamtwin.core.run_info import ENVIRONMENT

if TYPE_CHECKING:
    from streamtwin.calibrate.environment import Environment
    from streamtwin.calibrate.profile import Profile

TraceOption = Annotated[
    Path | None,
    typer.Option(
        "--from-trace",
        metavar="FILE",
        help="measure nothing: take the times of a torch.profiler trace (.json, .json.gz) or a .csv",
    ),
]
RunsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--from-runs",
        metavar="RUN...",
        help="measure nothing: take the times of real runs, one or several result folders",
    ),
]
MoreRunsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[RUN]...", help="more folders for --from-runs")
]

CSV = ".csv"


def profile_from(
    trace: Path | None,
    runs: Sequence[Path],
    out: Path | None,
    ranks: Sequence[int] = (),
    device: str = "cpu",
) -> "tuple[Profile, Path]":
    """Make and write the profile of *trace*, or else of *runs*; it, and its folder.

    *ranks* of a trace or a table computed at once; *device* is that of a table.

    Raises:
        UserError: both are given, a run is twice there, or the folder cannot be written.
        CalibrationError: the data does not make a profile; says where and why.
    """
    from streamtwin.calibrate.locate import profile_path  # noqa: PLC0415
    from streamtwin.calibrate.profile import write_profile  # noqa: PLC0415
    from streamtwin.cli.profiles import check_writable  # noqa: PLC0415

    if len(ranks) > 1 or (runs and ranks):
        raise UserError(
            f"--ranks {' '.join(map(str, ranks))}: "
            + ("runs say it themselves" if runs else "give one number with --from-trace")
        )
    given = trace or runs[0]
    folder = out or profile_path(f"from-{given.resolve().name.partition('.')[0]}")
    check_free(folder, ("meta.yaml",))
    check_writable(folder.resolve().parent)
    made = (
        _of_file(trace, folder.name, ranks, device)
        if trace is not None
        else profile_from_runs(list(_run_folders(runs)), folder.name)
    )
    write_profile(made, folder)
    return made, folder


def _of_file(trace: Path, name: str, ranks: Sequence[int], device: str) -> "Profile":
    from streamtwin.calibrate.from_table import profile_from_table  # noqa: PLC0415
    from streamtwin.calibrate.from_trace import profile_from_trace  # noqa: PLC0415

    if trace.suffix.lower() == CSV:
        if ranks:
            raise UserError(f"--ranks {ranks[0]}: a table says it in its column ranks")
        return profile_from_table(trace, name, device)
    return profile_from_trace(trace, name, ranks[0] if ranks else None)


def profile_from_runs(runs: Sequence[Path], name: str) -> "Profile":
    """The profile *name* of the real runs in the folders *runs*.

    Raises:
        CalibrationError: a run was predicted, or tells too little; environments differ.
    """
    from streamtwin.calibrate.from_runs import measurements_of, request_of  # noqa: PLC0415
    from streamtwin.calibrate.gathered import Origin, naming, profile_of  # noqa: PLC0415
    from streamtwin.cli.damage import sound  # noqa: PLC0415
    from streamtwin.core.replay import plan_of  # noqa: PLC0415
    from streamtwin.reports.store import read_run  # noqa: PLC0415

    measurements, requests, environments = [], [], []
    for number, run in enumerate(runs):
        with sound(run):
            records = read_run(run).records
            plan = plan_of(records)
            try:
                measurements += measurements_of(records, plan, number)
            except CalibrationError as error:
                raise CalibrationError(f"{run}: {error}") from error
        environments.append(_environment(run, records))
        _check_same(runs[0], environments[0], run, environments[-1])
        requests.append(request_of(records, plan))
        if plan.scenario.deployment.overlaps:
            remark(f"{run}: hops were posted ahead and have no time of their own: none taken")
    device = records.info.provenance.get("device", "cpu")
    asked = [one for place, one in enumerate(requests) if one not in requests[:place]]
    origin = Origin(_source(runs), environments[0], device)
    with naming(*runs[:3]):
        return profile_of(name, origin, measurements, asked)


def _source(runs: Sequence[Path]) -> str:
    names = ", ".join(run.resolve().name for run in runs[:3])
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    kind = "run" if len(runs) == 1 else "runs"
    return f"real {kind} {names}{more}"


def _run_folders(given: Sequence[Path]) -> Iterator[Path]:
    """The runs that are *given*; of a validation, its real runs.

    Raises:
        UserError: a validation has none, or a run is there twice and would count twice.
    """
    known: set[Path] = set()
    for folder in given:
        found = [folder]
        if (folder / "validation.json").is_file():
            found = sorted(folder.glob("*/measured-*"))
        if not found:
            raise UserError(f"--from-runs {folder}: holds no measured run")
        for run in found:
            if run.resolve() in known:
                raise UserError(f"--from-runs {run}: is given twice")
            known.add(run.resolve())
            yield run


def _environment(run: Path, records: Records) -> "Environment":
    from pydantic import ValidationError  # noqa: PLC0415

    from streamtwin.calibrate.environment import environment_of  # noqa: PLC0415

    stated = records.info.provenance.get(ENVIRONMENT)
    if stated is None:
        raise CalibrationError(
            f"{run}: its records do not say in which environment it ran: run the scenario again "
            "with this version"
        )
    try:
        return environment_of(stated)
    except ValidationError as error:
        raise CalibrationError(f"{run}: provenance: {ENVIRONMENT} is none: {error}") from error


def _check_same(first: Path, known: "Environment", run: Path, own: "Environment") -> None:
    differences = own.differences(known)
    if differences:
        there = [text.replace("(here ", f"({first} has ") for text in differences]
        raise CalibrationError(
            f"{run}: is of another environment than {first}: {', '.join(there)}: "
            "times of different environments do not mix"
        )
