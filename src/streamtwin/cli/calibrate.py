"""`streamtwin calibrate`: measure this host, fit, keep the profile; or check one that is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamtwin.cli.checks import check_budget
from streamtwin.cli.options import BudgetOption, DeviceOption, JsonOption
from streamtwin.cli.output import check_free, progress, remark, show
from streamtwin.cli.sources import MoreRunsArgument, RunsOption, TraceOption, profile_from
from streamtwin.core.errors import UserError

if TYPE_CHECKING:
    from streamtwin.calibrate.grid import Grid
    from streamtwin.calibrate.programme import Programme

WAN_RESOLUTIONS = ("480x832", "512x512", "720x1280")
WAN_MODELS = ("wan2.1-1.3b", "wan2.1-14b")
"""What a card is measured with when nobody says."""


def calibrate(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="model; repeat [default: tiny; on cuda both Wan models]"),
    ] = None,
    vae: Annotated[
        list[str] | None,
        typer.Option("--vae", help="VAE; repeat [default: tiny; of Wan models, wan2.1 and taehv]"),
    ] = None,
    resolution: Annotated[
        list[str] | None,
        typer.Option(
            "--resolution",
            metavar="HEIGHTxWIDTH",
            help="pixels; repeat [default: 128x192; of Wan models, 480x832, 512x512, 720x1280]",
        ),
    ] = None,
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be measured, and measure nothing")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="do not go on with a calibration that was stopped")
    ] = False,
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="PROFILE", help="does this profile still hold here?"),
    ] = None,
    as_json: JsonOption = False,
    trace: TraceOption = None,
    runs: RunsOption = None,
    more_runs: MoreRunsArgument = None,
) -> None:
    """Measure kernels and hops on this host, fit latency models, write a profile."""
    from streamtwin.calibrate.environment import usable_cores  # noqa: PLC0415
    from streamtwin.calibrate.locate import profile_path  # noqa: PLC0415
    from streamtwin.calibrate.run import default_budget_s, grid_name  # noqa: PLC0415
    from streamtwin.runtime.devices import check_device  # noqa: PLC0415

    if more_runs and not runs:
        raise UserError(f"{more_runs[0]}: calibrate takes folders with --from-runs only")
    if trace is not None or runs:
        _learn(trace, [*(runs or ()), *(more_runs or ())], out, ranks or (), device, as_json)
        return
    check_budget(budget_s)
    if check is not None:
        _check(check, budget_s, as_json)
        return
    check_device(device, 1)
    shared = tuple(ranks or ((1, 2) if device == "cpu" else (1,)))
    if device == "cpu" and max(shared) > usable_cores():
        raise UserError(f"--ranks {max(shared)}: this host has {usable_cores()} cores")
    grid = _grid(model, vae, resolution, shared, device)
    budget = default_budget_s(grid) if budget_s is None else budget_s
    folder = out or profile_path(grid_name(grid))
    if out is not None:
        check_free(out, ("meta.yaml",))
    if dry_run:
        _tell(grid, budget, folder, as_json)
    else:
        _measure(grid, budget, folder, fresh, as_json)


def _learn(
    trace: Path | None,
    runs: list[Path],
    out: Path | None,
    ranks: Sequence[int],
    device: str,
    as_json: bool,
) -> None:
    """Make a profile of what is there already, and show it."""
    from streamtwin.cli.calibrate_tables import profile_document, profile_table  # noqa: PLC0415

    profile, folder = profile_from(trace, runs, out, ranks, device)
    show(profile_document(profile, folder), [profile_table(profile)], as_json)
    remark(f"profile: {folder}")


def _grid(
    models: list[str] | None,
    vaes: list[str] | None,
    resolutions: list[str] | None,
    ranks: tuple[int, ...],
    device: str,
) -> "Grid":
    """What the options name, and what goes without saying."""
    from streamtwin.calibrate.accelerator import card_count  # noqa: PLC0415
    from streamtwin.calibrate.grid import make_grid  # noqa: PLC0415
    from streamtwin.runtime.devices import free_bytes  # noqa: PLC0415

    cuda = device != "cpu"
    chosen = models or (list(WAN_MODELS) if cuda else ["tiny"])
    tiny = chosen == ["tiny"]
    sizes = resolutions or (["128x192"] if tiny else list(WAN_RESOLUTIONS))
    return make_grid(
        chosen,
        vaes or (["tiny"] if tiny else ["wan2.1", "taehv"]),
        [_resolution(text) for text in sizes],
        lambda count: free_bytes(device, count),
        ranks=ranks,
        device=device,
        cards=card_count(device),
    )


def _resolution(text: str) -> tuple[int, int]:
    """Height and width of `HEIGHTxWIDTH`.

    Raises:
        UserError: the text is no such thing.
    """
    height, by, width = text.lower().partition("x")
    if not (by and height.isdecimal() and width.isdecimal()):
        raise UserError(f"--resolution {text!r}: give HEIGHTxWIDTH in pixels, as in 480x832")
    return int(height), int(width)


def _tell(grid: "Grid", budget_s: float, folder: Path, as_json: bool) -> None:
    """Show what would be done, and do nothing."""
    from streamtwin.calibrate.ceilings import card_name, read_ceilings  # noqa: PLC0415
    from streamtwin.calibrate.expected import expect  # noqa: PLC0415
    from streamtwin.calibrate.journal import partial_folder  # noqa: PLC0415
    from streamtwin.calibrate.programme import programme_of  # noqa: PLC0415
    from streamtwin.calibrate.run import fitting  # noqa: PLC0415
    from streamtwin.cli.calibrate_tables import programme_document, programme_table  # noqa: PLC0415

    ceilings = read_ceilings(card_name(grid.device))
    programme = programme_of(fitting(grid), expect(ceilings), budget_s)
    document = programme_document(programme, ceilings.source, str(folder))
    show(document, [programme_table(programme)], as_json)
    for words in programme.left_out:
        remark(f"left out: {words}")
    remark(f"expected times from: {ceilings.source}; nothing was measured")
    _warn(programme)
    if partial_folder(folder).exists():
        remark(f"{partial_folder(folder)} holds a calibration that was stopped")


def _warn(programme: "Programme") -> None:
    if programme.minimum_s > programme.budget_s:
        remark(
            f"--budget {programme.budget_s:g} is less than the {programme.minimum_s:.0f} s that the "
            "cases need which identify every parameter; they are measured all the same"
        )


def _measure(grid: "Grid", budget_s: float, folder: Path, fresh: bool, as_json: bool) -> None:
    """Calibrate, and show what came out."""
    from streamtwin.calibrate.accelerator import card_remarks  # noqa: PLC0415
    from streamtwin.calibrate.journal import partial_folder  # noqa: PLC0415
    from streamtwin.calibrate.run import Settings  # noqa: PLC0415
    from streamtwin.calibrate.run import calibrate as measure  # noqa: PLC0415
    from streamtwin.cli.calibrate_tables import profile_document, profile_table  # noqa: PLC0415
    from streamtwin.cli.profiles import check_writable  # noqa: PLC0415

    check_writable(folder.resolve().parent)
    for words in card_remarks(grid.device):
        remark(words)
    partial = partial_folder(folder)
    try:
        with progress("calibrating", 1.0) as bar:
            settings = Settings(fresh=fresh, on_progress=bar.at, say=remark)
            profile = measure(grid, out=folder, budget_s=budget_s, settings=settings)
    except BaseException:  # a stop is one of them
        if (partial / "samples.csv").exists():
            remark(f"what was measured is kept in {partial}: the same command goes on from there")
        raise
    show(profile_document(profile, folder), [profile_table(profile)], as_json)
    for words in profile.left_out:
        remark(f"left out: {words}")
    remark(f"profile: {folder}")


def _check(name: str, budget_s: float | None, as_json: bool) -> None:
    """Show whether the profile *name* holds here; status 1 if something does not."""
    from streamtwin.calibrate.check import CHECK_S, check, check_measured  # noqa: PLC0415
    from streamtwin.calibrate.locate import find_profile  # noqa: PLC0415
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415
    from streamtwin.calibrate.run import Settings  # noqa: PLC0415
    from streamtwin.cli.calibrate_tables import check_document, check_table  # noqa: PLC0415
    from streamtwin.runtime.devices import check_device  # noqa: PLC0415

    profile = read_profile(find_profile(name))
    check_measured(profile)
    check_device(profile.device, 1)
    with progress("checking", 1.0) as bar:
        budget = CHECK_S if budget_s is None else budget_s
        found = check(profile, Settings(on_progress=bar.at), budget)
    for difference in found.differences:
        remark(f"other environment: {difference}")
    show(check_document(profile, found), [check_table(profile, found)], as_json)
    if found.remedy is not None:
        remark(f"calibrate again with: {found.remedy}")
        raise typer.Exit(1)
