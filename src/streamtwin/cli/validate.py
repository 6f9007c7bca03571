"""`streamtwin validate`: predict, run for real, and say how far the two differ."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamtwin.cli.decisions import with_decisions
from streamtwin.cli.naming import of_variant
from streamtwin.cli.options import (
    BudgetOption,
    CheckOption,
    DeviceOption,
    HangOption,
    InputOption,
    JsonOption,
    OutOption,
    PublishedOption,
    SetOption,
    SuiteOption,
)
from streamtwin.cli.options import overrides as given
from streamtwin.cli.output import remark, result_folder, show
from streamtwin.cli.published import refuse_beside_published, validate_published
from streamtwin.cli.seated import refuse_seat
from streamtwin.cli.suite import BUDGET_S, SUITE, save_board, score, with_board
from streamtwin.cli.trials import Trial, Trials, compared, slug, tried
from streamtwin.core.errors import UserError
from streamtwin.core.limits import HANG_TIMEOUT_S

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.cli.profiles import Between
    from streamtwin.reports.comparison import ValidationResult

RepeatsOption = Annotated[
    int, typer.Option("--repeats", min=1, help="real runs of each deployment")
]


def validate(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="SCENARIO", help="a scenario file, or the name of a shipped one"),
    ] = None,
    overrides: SetOption = None,
    video: InputOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    check: CheckOption = False,
    repeats: RepeatsOption = 3,
    budget_s: BudgetOption = None,
    device: DeviceOption = "cpu",
    hang_timeout_s: HangOption = HANG_TIMEOUT_S,
    published: PublishedOption = None,
    suite: SuiteOption = False,
) -> None:
    """Calibrate this host, predict every variant of SCENARIO, run each for real, compare."""
    if published is not None:
        real = (repeats, budget_s, device, hang_timeout_s) != (3, None, "cpu", HANG_TIMEOUT_S)
        refuse_beside_published(scenario, video, suite=suite, real=real)
        validate_published(published, given(overrides), out, as_json=as_json, check=check)
        return
    scenario = SUITE if suite and scenario is None else scenario
    if scenario is None:
        raise UserError("validate: give a SCENARIO, --suite, or --published NAME")
    from streamtwin.calibrate.environment import read_environment  # noqa: PLC0415
    from streamtwin.calibrate.profile import check_host  # noqa: PLC0415
    from streamtwin.cli.checks import (  # noqa: PLC0415
        check_budget,
        check_can_run,
        check_hang_timeout,
        check_one_profile,
    )
    from streamtwin.cli.predict import read_clip, remark_on  # noqa: PLC0415
    from streamtwin.cli.profiles import HOST, device_name, profile_of  # noqa: PLC0415
    from streamtwin.cli.save import run_environment  # noqa: PLC0415
    from streamtwin.core.library import find_variants  # noqa: PLC0415
    from streamtwin.reports.tables import comparison_table  # noqa: PLC0415
    from streamtwin.runtime.run import run_pipeline  # noqa: PLC0415

    refuse_seat("validate")
    check_hang_timeout(hang_timeout_s)
    check_budget(budget_s)
    budget_s = BUDGET_S if suite and budget_s is None else budget_s
    variants = find_variants(scenario, given(overrides))
    first = next(iter(variants.values()))
    check_one_profile(variants)
    clips = {label: read_clip(one, video) for label, one in variants.items()}
    for label, one in variants.items():
        with of_variant(label, one):
            check_can_run(one, device)
    remark_on(clips[next(iter(variants))], first)
    folder = _empty_folder(out, first.name)
    ranks = max(one.deployment.gpus for one in variants.values())
    here = read_environment(device_name(device))
    where = run_environment(here)
    pipeline = partial(
        run_pipeline, device=device, environment=where, hang_timeout_s=hang_timeout_s
    )
    work = Trials(variants, clips, device, folder, repeats, pipeline)

    def measured(between: "Between") -> "Profile":
        profile = profile_of(
            first, fresh=first.profile == HOST, ranks=ranks, budget_s=budget_s, device=device,
            beside=tuple(variants.values()), between=between,
        )  # fmt: skip
        check_host(profile, here)
        return profile

    trials, profile = tried(work, measured)
    result = _compare(trials, profile)
    document, tables = with_decisions(trials, _document(result, trials), comparison_table(result))
    if suite:
        board = score(trials)
        document, tables = with_board(board, document, tables)
    page = _save(folder, trials, result, profile, document)
    if suite:
        page = save_board(board, folder, first.question, first.name, result.environment)
    show(document, tables, as_json)
    remark(f"report: {page}\nvideo:  {next(iter(work.videos.values()))}")
    if not document["decisions"]["ok"] or (check and not document["ok"]):
        raise typer.Exit(1)


def _empty_folder(out: Path | None, name: str) -> Path:
    """The result's folder, without what an earlier comparison said."""
    folder = result_folder(out, name, "validate")
    for stale in ("report.html", "scoreboard.html", "validation.json", "timeline.json"):
        (folder / stale).unlink(missing_ok=True)
    return folder


def _compare(trials: list[Trial], profile: "Profile") -> "ValidationResult":
    from streamtwin.cli.save import environment_of  # noqa: PLC0415
    from streamtwin.reports.comparison import ValidationResult  # noqa: PLC0415

    first = trials[0].plan.scenario
    return ValidationResult(
        name=first.name,
        deployments=tuple(map(compared, trials)),
        question=first.question,
        environment=environment_of(profile),
    )


def _save(
    folder: Path,
    trials: list[Trial],
    result: "ValidationResult",
    profile: "Profile",
    document: dict[str, Any],
) -> Path:
    from streamtwin.cli.save import fit_points, scenario_yaml  # noqa: PLC0415
    from streamtwin.core.metrics import compute_metrics  # noqa: PLC0415
    from streamtwin.reports.page import render_validation  # noqa: PLC0415
    from streamtwin.reports.perfetto import timeline  # noqa: PLC0415
    from streamtwin.reports.store import write_run  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    for index, trial in enumerate(trials):
        base = folder / f"{index + 1}-{slug(trial.label)}"
        text = scenario_yaml(trial.predicted)
        write_run(base / "predicted", trial.predicted, trial.metrics, text)
        for repeat, records in enumerate(trial.measured):
            write_run(base / f"measured-{repeat + 1}", records, compute_metrics(records), text)
    write_text(folder / "validation.json", json.dumps(document, indent=2))
    pairs = {f"{d.label}, measured": d.measured for d in result.deployments}
    pairs |= {f"{d.label}, simulated": d.predicted for d in result.deployments}
    write_text(folder / "timeline.json", json.dumps(timeline(pairs)))
    page = folder / "report.html"
    text = scenario_yaml(trials[0].predicted)
    about = {"fit_points": fit_points(profile), "decisions": document["decisions"]["words"]}
    write_text(page, render_validation(result, scenario_yaml=text, **about))
    return page


def _document(result: "ValidationResult", trials: list[Trial]) -> dict[str, Any]:
    """The comparison for programs; quantities in SI units, what has no value is null."""
    from dataclasses import asdict  # noqa: PLC0415

    from streamtwin.reports.store import finite_or_null  # noqa: PLC0415

    return {
        "schema": 1,
        "scenario": result.name,
        "ok": result.ok,
        "environment": dict(result.environment),
        "deployments": [
            {
                "label": deployment.label,
                "overrides": list(deployment.overrides),
                "ok": deployment.ok,
                "intervals": trial.metrics["intervals"],
                "provenance": trial.metrics["provenance"],
                "metrics": [finite_or_null(asdict(row)) for row in deployment.rows],
            }
            for deployment, trial in zip(result.deployments, trials, strict=True)
        ],
    }
