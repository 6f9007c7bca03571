"""What does a profile's report print at the terminal?"""

from collections.abc import Iterable

from rich.table import Table

from streamtwin.reports.profile_page import (
    answer_cells,
    case_cells,
    error_words,
    figure_cells,
    form_words,
    parameter_cells,
    reasons_of,
)
from streamtwin.reports.profile_view import FitView, ProfileView

PARAMETERS = ("parameter", "value", "standard error", "unit")
ANSWERS = ("operation", "ms", "90 % interval", "who says so")
FIGURES = ("figure", "published value", "predicted value", "error, %", "unit")
REASONS = ("parameters", "because")
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
    return [
        head,
        *(table for fit in profile.fits for table in _of(fit, profile)),
        *_unmeasured(profile),
    ]


def _unmeasured(profile: ProfileView) -> list[Table]:
    """What a profile without raw times has instead: answers, published figures, assumptions."""
    tables = [
        ("what it says", ANSWERS, (_brief(answer_cells(one)) for one in profile.answers)),
        ("published figures", FIGURES, (_short(figure_cells(one)) for one in profile.figures)),
        ("assumed", REASONS, reasons_of(profile)),
    ]
    return [
        _table(title, headings, rows) for title, headings, each in tables if (rows := list(each))
    ]


def _brief(cells: tuple[str, ...]) -> tuple[str, ...]:
    """An answer with the kind of its provenance alone."""
    return *cells[:-1], cells[-1].split(":", 1)[0]


def _short(cells: tuple[str, ...]) -> tuple[str, ...]:
    """A published figure without interval and source, which the page has."""
    label, published, predicted, _, error, unit, _ = cells
    return label, published, predicted, error, unit


def _of(fit: FitView, profile: ProfileView) -> list[Table]:
    title = f"{fit.title}: {form_words(fit)} {error_words(fit)} ({fit.provenance})"
    cells = [case_cells(case, profile) for case in fit.cases]
    parameters = _table(title, PARAMETERS, map(parameter_cells, fit.terms))
    if not cells:
        return [parameters]
    shown = [tuple(row[place] for place in _SHOWN) for row in cells]
    return [parameters, _table("", CASES, shown)]


def _table(title: str, headings: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(title=title or None, title_justify="left", show_header=any(headings))
    for heading in headings:
        numeric = any(word in heading for word in ("value", "error", "ms"))
        table.add_column(heading, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*row)
    return table
