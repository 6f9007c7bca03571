"""What does `streamtwin calibrate` do: say what it would do, measure, or check a profile?"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamtwin.cli.output import progress, remark, show

if TYPE_CHECKING:
    from streamtwin.calibrate.grid import Grid
    from streamtwin.calibrate.programme import Programme


def tell(grid: "Grid", budget_s: float, folder: Path, as_json: bool, card: str | None) -> None:
    """Show what would be done, and do nothing."""
    from streamtwin.calibrate.ceilings import card_name, read_ceilings  # noqa: PLC0415
    from streamtwin.calibrate.expected import card_ceilings, expect  # noqa: PLC0415
    from streamtwin.calibrate.journal import partial_folder  # noqa: PLC0415
    from streamtwin.calibrate.programme import programme_of  # noqa: PLC0415
    from streamtwin.calibrate.run import fitting  # noqa: PLC0415
    from streamtwin.cli.calibrate_tables import programme_document, programme_table  # noqa: PLC0415
    from streamtwin.core.catalog import gpu  # noqa: PLC0415

    ceilings = card_ceilings(gpu(card)) if card else read_ceilings(card_name(grid.device))
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


def measure(
    grid: "Grid", budget_s: float, folder: Path, fresh: bool, as_json: bool, *, asked: bool
) -> None:
    """Calibrate, and show what came out."""
    from streamtwin.calibrate.accelerator import card_remarks  # noqa: PLC0415
    from streamtwin.calibrate.journal import partial_folder  # noqa: PLC0415
    from streamtwin.calibrate.run import Settings  # noqa: PLC0415
    from streamtwin.calibrate.run import calibrate as measured  # noqa: PLC0415
    from streamtwin.cli.calibrate_tables import profile_document, profile_table  # noqa: PLC0415
    from streamtwin.cli.profiles import check_writable  # noqa: PLC0415

    check_writable(folder.resolve().parent, asked=asked)
    for words in card_remarks(grid.device):
        remark(words)
    partial = partial_folder(folder)
    try:
        with progress("calibrating", 1.0) as bar:
            settings = Settings(fresh=fresh, on_progress=bar.at, say=remark)
            profile = measured(grid, out=folder, budget_s=budget_s, settings=settings)
    except BaseException:  # a stop is one of them
        if (partial / "samples.csv").exists():
            remark(f"what was measured is kept in {partial}: the same command goes on from there")
        raise
    show(profile_document(profile, folder), [profile_table(profile)], as_json)
    for words in profile.left_out:
        remark(f"left out: {words}")
    remark(f"profile: {folder}")


def check_profile(name: str, budget_s: float | None, as_json: bool) -> None:
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
