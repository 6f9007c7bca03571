"""How are a calibration, its programme and its check shown?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamtwin.calibrate.check import Check
    from streamtwin.calibrate.profile import Profile
    from streamtwin.calibrate.programme import Programme


def starts_of(profile: "Profile") -> int:
    """How often the processes of a part were started at most."""
    return 1 + max((one.run for one in profile.measurements), default=-1)


def _rows(profile: "Profile") -> list[dict[str, Any]]:
    return [
        {
            "family": fit.family,
            "subject": fit.subject,
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


def profile_document(profile: "Profile", folder: Path) -> dict[str, Any]:
    """A new profile for programs."""
    from streamtwin.calibrate.beside import host_extra_s  # noqa: PLC0415

    return {
        "schema": 1,
        "profile": profile.name,
        "folder": str(folder),
        "provenance": str(profile.provenance),
        "environment": profile.environment.as_dict(),
        "host_extra_s": host_extra_s(profile.measurements),
        "starts": starts_of(profile),
        "left_out": list(profile.left_out),
        "fits": _rows(profile),
    }


def profile_table(profile: "Profile") -> Any:  # noqa: ANN401 - a rich table, loaded with the command
    """A new profile for people."""
    table = _table(
        f"{profile.name} ({profile.provenance})",
        ("what", "form"),
        ("cases", "marked", "held-out %", "worst %", "90 % +-", "inside"),
    )
    table.caption = (
        f"starts of the processes: {starts_of(profile)}; xN: with N ranks computing; marked: cases "
        "that scatter (u) or that the card throttled (t)"
    )
    table.caption_justify = "left"
    for row in _rows(profile):
        table.add_row(
            f"{row['family']}, {row['subject']}, x{row['ranks']}",
            row["form"],
            str(row["configurations"]),
            _marks(row),
            _percent(row["held_out_error_median"]),
            _percent(row["held_out_error_worst"]),
            _percent(row["interval_half_width"]),
            f"{row['covered']}/{row['held_out']}" if row["held_out"] else "-",
        )
    return table


def _marks(row: dict[str, Any]) -> str:
    """How many cases say little: unstable ones, throttled ones."""
    marks = {"u": row["unstable"], "t": row["throttled"]}
    return " ".join(f"{count}{mark}" for mark, count in marks.items() if count) or "-"


def programme_document(programme: "Programme", source: str, folder: str) -> dict[str, Any]:
    """What would be done, for programs."""
    return {"schema": 1, "profile": folder, "expected_from": source, **asdict(programme)}


def programme_table(programme: "Programme") -> Any:  # noqa: ANN401
    """What would be done, for people."""
    table = _table(
        f"would take {programme.expected_s:.0f} s of {programme.budget_s:g} s",
        ("model", "VAE", "resolution", "operation"),
        ("ranks", "cases", "expected s"),
    )
    for line in programme.lines:
        table.add_row(
            line.model,
            line.vae,
            line.resolution,
            line.operation,
            str(line.ranks),
            f"{line.chosen} of {line.cases}",
            f"{line.expected_s:.1f}",
        )
    table.add_row("starting processes", "", "", "", "", "", f"{programme.starts_s:.1f}")
    table.caption = (
        f"all in {programme.starts} {'start' if programme.starts == 1 else 'starts'}, with the "
        "fewest times of each case; time that is left goes into more"
    )
    table.caption_justify = "left"
    return table


def check_document(profile: "Profile", check: "Check") -> dict[str, Any]:
    """A check for programs."""
    return {
        "schema": 1,
        "profile": profile.name,
        "provenance": str(profile.provenance),
        "differences": list(check.differences),
        "parts": [
            {**asdict(one), "holds": one.holds, "verdict": one.words} for one in check.verdicts
        ],
        "holds": check.remedy is None,
        "remedy": check.remedy,
    }


def check_table(profile: "Profile", check: "Check") -> Any:  # noqa: ANN401
    """A check for people."""
    table = _table(
        f"{profile.name} ({profile.provenance}), checked here",
        ("operation",),
        ("then, ms", "now, ms", "ratio", "95 % interval"),
    )
    table.add_column("verdict")
    table.caption = "sums over a few cases of each; xN: with N ranks computing"
    table.caption_justify = "left"
    for one in check.verdicts:
        table.add_row(
            f"{one.family}, {one.subject}\n{one.resolution}, x{one.ranks}",
            f"{1e3 * one.stored_s:.1f}",
            f"{1e3 * one.now_s:.1f}",
            f"{one.ratio:.2f}",
            f"{one.low:.2f} to {one.high:.2f}",
            one.words,
        )
    return table


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Any:  # noqa: ANN401
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left")
    for heading in left:
        table.add_column(heading)
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
