"""`streamtwin validate --suite`: how good is the twin over many deployments of this machine?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records

if TYPE_CHECKING:
    from rich.table import Table

    from streamtwin.reports.scoreboard import Scoreboard

SUITE = "cpu-suite"
"""The shipped scenario whose variants are the suite."""

BUDGET_S = 300.0
"""Seconds of measuring for it when nobody says: eight starts of all shapes on two cores, by turns with
the runs, so that how a host differs from minute to minute is known."""


class Tried(Protocol):
    """One deployment: what was predicted, and the real runs of it."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the prediction, with intervals."""
        ...

    @property
    def measured(self) -> list[Records]:
        """The real runs."""
        ...


def score(tried: Sequence[Tried]) -> "Scoreboard":
    """The scoreboard of all deployments that were tried; none is left out."""
    from streamtwin.reports.scoreboard import Scoreboard, scores_of  # noqa: PLC0415

    return Scoreboard(
        tuple(
            found
            for one in tried
            for found in scores_of(
                one.label, one.metrics, [compute_metrics(records) for records in one.measured]
            )
        )
    )


def with_board(
    board: "Scoreboard", document: dict[str, Any], tables: "list[Table]"
) -> tuple[dict[str, Any], "list[Table]"]:
    """The comparison's document and tables with the scoreboard, whose verdict counts."""
    from streamtwin.reports import scoreboard_page as page  # noqa: PLC0415

    told = {**document, "ok": board.ok, "scoreboard": page.document(board)}
    return told, tables + page.scoreboard_tables(board)


def save_board(
    board: "Scoreboard", folder: Path, question: str, name: str, environment: Mapping[str, str]
) -> Path:
    """Write the scoreboard's page into *folder*; returns it."""
    from streamtwin.reports.scoreboard_page import render_scoreboard  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    page = folder / "scoreboard.html"
    write_text(page, render_scoreboard(board, question, name, environment))
    return page
