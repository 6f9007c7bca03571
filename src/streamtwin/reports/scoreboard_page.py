"""What does the scoreboard show: errors by load beside the repeats' spread, nothing left out?"""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from streamtwin.reports.figures.scoreboard import scoreboard_svg
from streamtwin.reports.scoreboard import BOUNDS, COVERAGE, WORDS, Kind, Score, Scoreboard, Summary
from streamtwin.reports.svg_inline import inline_svg
from streamtwin.reports.tables import slim_table
from streamtwin.reports.templating import fill

HEADINGS = ("load", "deployments", "median", "worst", "spread", "bound")
SCORES = (
    "deployment",
    "load, %",
    "metric",
    "predicted",
    "measured",
    "error, %",
    "spread, %",
    "inside",
)
CAPTION = (
    "Each deployment's prediction against the median of its real runs, by load; the bar is half the "
    "range of those runs on either side."
)


def scoreboard_tables(board: Scoreboard) -> list[Table]:
    """Errors by kind and load, with the coverage of the intervals."""
    table = slim_table("the twin against real runs, errors in %", ("", *HEADINGS))
    for one in board.summaries:
        style = "" if one.ok else "bold red"
        table.add_row(WORDS[one.kind], *_summary(one), style=style)
    words = [coverage_words(board), *empty_words(board)]
    table.caption, table.caption_justify = "\n".join(words), "left"
    return [table]


def render_scoreboard(
    board: Scoreboard, question: str, name: str, environment: Mapping[str, str]
) -> str:
    """Make the page of *board*."""
    return fill(
        "scoreboard.html.j2",
        name=name,
        question=question,
        words=[
            *(words_of(board, kind) for kind in BOUNDS),
            coverage_words(board),
            *empty_words(board),
        ],
        figure=inline_svg(scoreboard_svg(board), CAPTION),
        caption=CAPTION,
        headings=("", *HEADINGS),
        summaries=[(WORDS[one.kind], *_summary(one)) for one in board.summaries],
        score_headings=SCORES,
        scores=[_score(one) for one in board.scores],
        environment=environment,
    )


def words_of(board: Scoreboard, kind: Kind) -> str:
    """The verdict on one kind, over all deployments and by load."""
    own = {one.band: one for one in board.summaries if one.kind == kind}
    if None not in own:
        return f"{WORDS[kind].capitalize()}: nothing to judge."
    found = own[None]
    broken = ["over all" if band is None else band for band, one in own.items() if not one.ok]
    kept = f"broken {', '.join(broken)}" if broken else "kept at every load"
    return (
        f"{WORDS[kind].capitalize()}: median error {_percent(found.median_error)} %, bound "
        f"{_percent(BOUNDS[kind])} % {kept}; worst {_percent(found.worst_error)} % "
        f"({found.worst_label})."
    )


def coverage_words(board: Scoreboard) -> str:
    """How many measured values lie inside their 90 % intervals."""
    inside, tested = board.coverage
    low, high = (f"{100 * share:.0f}" for share in COVERAGE)
    if not tested:
        return "No prediction has an interval."
    kept = "kept" if board.covers else "broken"
    return (
        f"{inside} of {tested} measured values lie inside their 90 % intervals "
        f"({100 * inside / tested:.0f} %, bound {low} to {high} % {kept}). Repeats of one deployment "
        "share their host's state, so they are fewer trials than they look."
    )


def empty_words(board: Scoreboard) -> list[str]:
    """That some loads were not tried, if so."""
    return [f"No deployment has a load {', '.join(board.empty)}."] if board.empty else []


def document(board: Scoreboard) -> dict[str, Any]:
    """The scoreboard for programs; shares, SI units."""
    inside, tested = board.coverage
    return {
        "ok": board.ok,
        "coverage": {"inside": inside, "tested": tested, "ok": board.covers},
        "summaries": [
            {
                "metric": WORDS[one.kind], "load": one.band or "all", "deployments": one.count,
                "median_error": one.median_error, "worst_error": one.worst_error,
                "worst": one.worst_label, "median_spread": one.median_spread,
                "bound": BOUNDS[one.kind], "ok": one.ok,
            }
            for one in board.summaries
        ],
        "scores": [
            {
                "label": one.label, "load": one.load, "metric": one.metric,
                "predicted": one.predicted, "measured": one.measured, "error": one.error,
                "spread": one.spread, "inside": one.inside, "tested": one.tested,
            }
            for one in board.scores
        ],
    }  # fmt: skip


def _summary(one: Summary) -> tuple[str, ...]:
    return (
        one.band or "all",
        str(one.count),
        _percent(one.median_error),
        _percent(one.worst_error),
        _percent(one.median_spread),
        _percent(BOUNDS[one.kind]),
    )


def _score(one: Score) -> tuple[str, ...]:
    inside = f"{one.inside} of {one.tested}" if one.tested else "-"
    numbers = (f"{one.predicted:.4g}", f"{one.measured:.4g}")
    error = f"{100 * one.error:+.1f}"
    load = f"{100 * one.load:.0f}"
    return one.label, load, one.metric, *numbers, error, _percent(one.spread), inside


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
