"""`streamtwin calibrate`: measure this host, fit, keep the profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamtwin.cli.checks import check_budget
from streamtwin.cli.options import BudgetOption, DeviceOption, JsonOption
from streamtwin.cli.output import check_free, progress, remark, show
from streamtwin.cli.sources import MoreRunsArgument, RunsOption, TraceOption, profile_from
from streamtwin.core.errors import UserError

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile


def calibrate(
    model: Annotated[str, typer.Option("--model", help="model of the catalogue")] = "tiny",
    vae: Annotated[
        str | None, typer.Option("--vae", help="VAE of the catalogue [default: the model's]")
    ] = None,
    resolution: Annotated[
        tuple[int, int], typer.Option("--resolution", help="height and width in pixels")
    ] = (128, 192),
    ranks: Annotated[
        list[int] | None,
        typer.Option("--ranks", help="ranks that compute at once; repeat [default: 1 and 2]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="profile folder [default: this host's]"),
    ] = None,
    budget_s: BudgetOption = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
    trace: TraceOption = None,
    runs: RunsOption = None,
    more_runs: MoreRunsArgument = None,
) -> None:
    """Measure kernels and hops on this host, fit latency models, write a profile."""
    from streamtwin.calibrate.accelerator import card_remarks  # noqa: PLC0415
    from streamtwin.calibrate.cases import CalibrationRequest  # noqa: PLC0415
    from streamtwin.calibrate.environment import usable_cores  # noqa: PLC0415
    from streamtwin.calibrate.locate import host_profile_name, profile_path  # noqa: PLC0415
    from streamtwin.calibrate.run import DEFAULT_BUDGET_S  # noqa: PLC0415
    from streamtwin.calibrate.run import calibrate as measure  # noqa: PLC0415
    from streamtwin.cli.profiles import check_writable  # noqa: PLC0415
    from streamtwin.runtime.devices import check_device  # noqa: PLC0415

    if more_runs and not runs:
        raise UserError(f"{more_runs[0]}: calibrate takes folders with --from-runs only")
    if trace is not None or runs:
        made, at = profile_from(
            trace, [*(runs or ()), *(more_runs or ())], out, ranks or (), device
        )
        show(_document(made, at), [_table(made)], as_json)
        remark(f"profile: {at}")
        return
    check_device(device, 1)
    check_budget(budget_s)
    chosen_vae = vae or ("tiny" if model == "tiny" else "wan2.1")
    shared = tuple(ranks or ((1, 2) if device == "cpu" else (1,)))
    request = CalibrationRequest(model, chosen_vae, resolution, shared, device=device)
    if device == "cpu" and max(shared) > usable_cores():
        raise UserError(f"--ranks {max(shared)}: this host has {usable_cores()} cores")
    request.plan()
    folder = out or profile_path(host_profile_name(model, chosen_vae, resolution, device))
    if out is not None:
        check_free(out, ("meta.yaml",))
    check_writable(folder.resolve().parent)
    for words in card_remarks(device):
        remark(words)
    with progress("calibrating", 1.0) as bar:
        budget = DEFAULT_BUDGET_S if budget_s is None else budget_s
        profile = measure(request, out=folder, budget_s=budget, on_progress=bar.at)
    show(_document(profile, folder), [_table(profile)], as_json)
    remark(f"profile: {folder}")


def _rows(profile: "Profile") -> list[dict[str, Any]]:
    return [
        {
            "family": fit.family,
            "ranks": fit.ranks,
            "form": fit.form,
            "configurations": len(fit.points),
            "unstable": sum(not point.stable for point in fit.points),
            "throttled": sum(point.throttled for point in fit.points),
            "held_out_error_median": fit.held_out_error,
            "held_out_error_worst": max((abs(e) for e in fit.held_out_errors), default=None),
            "left_out_error_median": fit.left_out_error,
            "interval_half_width": fit.half_width,
            "covered": fit.coverage.inside,
            "held_out": fit.coverage.total,
            "within_run_std": fit.spread.within_rel_std,
            "between_runs_std": fit.spread.between_rel_std,
            "alternatives": fit.alternatives,
        }
        for fit in profile.fits
    ]


def _document(profile: "Profile", folder: Path) -> dict[str, Any]:
    from streamtwin.calibrate.beside import host_extra_s  # noqa: PLC0415

    return {
        "schema": 1,
        "profile": profile.name,
        "folder": str(folder),
        "provenance": str(profile.provenance),
        "environment": profile.environment.as_dict(),
        "host_extra_s": host_extra_s(profile.measurements),
        "fits": _rows(profile),
    }


def _table(profile: "Profile") -> Any:  # noqa: ANN401 - a rich table, loaded with the command
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"{profile.name} ({profile.provenance})", title_justify="left")
    for heading in ("operation", "ranks", "form", "configurations", "unstable", "throttled"):
        table.add_column(heading)
    for heading in ("held-out error, median %", "worst %", "90 % interval, +- %", "covered"):
        table.add_column(heading, justify="right")
    for row in _rows(profile):
        table.add_row(
            row["family"],
            str(row["ranks"]),
            row["form"],
            str(row["configurations"]),
            str(row["unstable"]),
            str(row["throttled"]),
            _percent(row["held_out_error_median"]),
            _percent(row["held_out_error_worst"]),
            _percent(row["interval_half_width"]),
            f"{row['covered']}/{row['held_out']}" if row["held_out"] else "-",
        )
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
