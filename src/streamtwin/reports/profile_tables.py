"""What does a profile's report print at the terminal?"""

from collections.abc import Iterable

from rich.table import Table

from streamtwin.reports.profile_page import case_cells, error_words, form_words, parameter_cells
from streamtwin.reports.profile_view import FitView, ProfileView

PARAMETERS = ("parameter", "value", "standard error", "unit")
CASES = ("case", "state", "ms", "error, %", "limited by")
_SHOWN = (0, 1, 2, 5, 8)
"""Cells of a case that fit on a terminal; the page has them all."""


def profile_tables(profile: ProfileView) -> list[Table]:
    """Head, then each fit with its parameters and its cases."""
    head = _table(f"{profile.name} ({profile.provenance})", ("", ""), profile.environment.items())
    asked = [
        (f"asked, {number}", ", ".join(f"{key} {value}" for key, value in request.items()))
        for number, request in enumerate(profile.requests, 1)
    ]
    for row in (*asked, *((one.name, one.source) for one in profile.ceilings)):
        head.add_row(*row)
    return [head, *(table for fit in profile.fits for table in _of(fit, profile))]


def _of(fit: FitView, profile: ProfileView) -> tuple[Table, Table]:
    title = f"{fit.title}: {form_words(fit)} {error_words(fit)} ({fit.provenance})"
    cells = [case_cells(case, profile) for case in fit.cases]
    return (
        _table(title, PARAMETERS, map(parameter_cells, fit.terms)),
        _table("", CASES, [tuple(row[place] for place in _SHOWN) for row in cells]),
    )


def _table(title: str, headings: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(title=title or None, title_justify="left", show_header=any(headings))
    for heading in headings:
        numeric = any(word in heading for word in ("value", "error", "ms"))
        table.add_column(heading, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*row)
    return table
