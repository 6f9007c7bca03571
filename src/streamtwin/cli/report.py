"""`streamtwin report` and `streamtwin compare`: read results and profiles again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from streamtwin.cli.damage import sound
from streamtwin.cli.decisions import compare_decisions
from streamtwin.cli.options import JsonOption
from streamtwin.cli.output import remark, show
from streamtwin.core.brief import cut
from streamtwin.core.errors import UserError

WhatArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PROFILE", help="result folder of a run; or a profile, name or folder"
    ),
]
PageOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="where the page goes [default: RUN, or under runs/]"),
]
DecisionsOption = Annotated[
    bool,
    typer.Option(
        "--decisions",
        help="compare what was decided: ask the policies of each RUN again, show where logs part",
    ),
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN RUN ...", help="result folders; the first is the prediction"),
]


def report(what: WhatArgument, out: PageOption = None, as_json: JsonOption = False) -> None:
    """Print the metrics of a run again, or what a profile says, and write the page anew."""
    run = Path(what)
    if (run / "metrics.json").exists():
        _report_run(run, out, as_json)
    elif run.is_dir() and not (run / "meta.yaml").exists():
        raise UserError(
            f"{run}: has neither metrics.json nor meta.yaml: not a run or a profile, or one that "
            "was not finished"
        )
    else:
        _report_profile(what, out, as_json)


def _report_run(run: Path, out: Path | None, as_json: bool) -> None:
    from streamtwin.core.metrics import compute_metrics  # noqa: PLC0415
    from streamtwin.reports.page import render_run  # noqa: PLC0415
    from streamtwin.reports.scatter import of_several_runs  # noqa: PLC0415
    from streamtwin.reports.store import read_run  # noqa: PLC0415
    from streamtwin.reports.tables import metrics_tables  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    with sound(run):
        stored = read_run(run)
        metrics = {**compute_metrics(stored.records), **of_several_runs(stored.metrics)}
        tables = metrics_tables(metrics)
        text = render_run(stored.records, scenario_yaml=stored.scenario_yaml, stated=stored.metrics)
    page = _page_folder(out, run) / "report.html"
    write_text(page, text)
    show(metrics, tables, as_json)
    remark(f"report: {page}")


def _report_profile(what: str, out: Path | None, as_json: bool) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    from streamtwin.calibrate.locate import find_profile, list_profiles  # noqa: PLC0415
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415
    from streamtwin.cli.profile_view import view_of  # noqa: PLC0415
    from streamtwin.reports.profile_page import render_profile  # noqa: PLC0415
    from streamtwin.reports.profile_tables import profile_tables  # noqa: PLC0415
    from streamtwin.reports.store import finite_or_null  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    try:
        found = find_profile(what)
    except UserError as error:
        known = ", ".join(list_profiles()) or "none yet"
        raise UserError(
            f"{what!r}: neither the folder of a run nor a profile; profiles: {known}"
        ) from error
    view = view_of(read_profile(found))
    text = render_profile(view)
    # a profile's own folder may be shipped, and holds what was measured, nothing that was drawn
    page = _page_folder(out, Path("runs", f"profile-{view.name}")) / "report.html"
    write_text(page, text)
    document: Any = finite_or_null({"schema": 1, **asdict(view)})
    show(document, profile_tables(view), as_json)
    remark(f"report: {page}")


def _page_folder(out: Path | None, usual: Path) -> Path:
    folder = out or usual
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {cut(str(folder))}: cannot be written: {error.strerror}") from error
    return folder


def compare(
    runs: RunsArgument, as_json: JsonOption = False, decisions: DecisionsOption = False
) -> None:
    """Compare the first RUN with the others, which are taken as repeats of one another.

    Two simulated runs with replications of one seed are compared pair by pair as well.
    """
    if decisions:
        compare_decisions(runs, as_json=as_json)
        return
    from dataclasses import asdict  # noqa: PLC0415

    from streamtwin.cli.pairs import paired  # noqa: PLC0415
    from streamtwin.core.metrics import compute_metrics  # noqa: PLC0415
    from streamtwin.reports.comparison import ValidationResult, compare_told  # noqa: PLC0415
    from streamtwin.reports.scatter import paired_table  # noqa: PLC0415
    from streamtwin.reports.store import finite_or_null, read_run  # noqa: PLC0415
    from streamtwin.reports.tables import comparison_table  # noqa: PLC0415

    if len(runs) < 2:
        raise UserError("compare takes at least two result folders")
    stored, told = [], []
    for run in runs:
        with sound(run):
            stored.append(read_run(run))
            told.append(compute_metrics(stored[-1].records))
    records = [run.records for run in stored]
    name = str(records[0].info.scenario.get("name", runs[0]))
    with sound(*runs):
        result = ValidationResult(name, (compare_told(str(runs[0]), (), records, told),))
    rows: list[Any] = [finite_or_null(asdict(row)) for row in result.deployments[0].rows]
    document, tables = {"schema": 1, "metrics": rows}, [comparison_table(result)]
    with sound(*runs):
        if (pairs := paired(stored)) is not None:
            document["paired"] = {name: asdict(each) for name, each in pairs.items()}
            tables.append(paired_table(pairs))
    show(document, tables, as_json)
