"""How does a person read where two decision logs part?"""

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from streamtwin.core.decision_log import Difference
from streamtwin.reports.decision_words import (
    about,
    chosen,
    number,
    title,
    words_again,
    words_beside,
    words_validated,
)
from streamtwin.reports.decisions import AskedAgain, Beside, Validated
from streamtwin.reports.tables import slim_table


def again_table(runs: Sequence[AskedAgain]) -> Table:
    """A row a run: whether its policies choose again what they chose."""
    table = slim_table("decisions, policies asked again", ("run",))
    for heading in ("source", "decisions"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for one in runs:
        verdict = "identical" if one.difference is None else words_again(one)
        style = "" if one.difference is None else "bold red"
        table.add_row(
            escape(one.name), escape(one.source), str(one.decisions), escape(verdict), style=style
        )
    return table


def beside_table(one: Beside) -> Table:
    """A row a family: how many decisions two logs share."""
    here, there = one.names
    table = slim_table(f"decisions of {here} beside those of {there}", ("family",))
    for heading in (here, there, "alike", "but for seconds"):
        table.add_column(escape(heading), justify="right")
    for family, tally in one.families.items():
        cells = (tally.here, tally.there, tally.alike, tally.but_for_seconds)
        table.add_row(escape(family), *map(str, cells))
    table.caption, table.caption_justify = escape(words_beside(one)), "left"
    return table


def difference_table(heading: str, one: Difference, names: tuple[str, str]) -> Table:
    """What each saw and chose: what differs first, then the rest."""
    table = slim_table(f"{heading}: {title(one)}", ("",))
    for name in names:
        table.add_column(escape(name), justify="right", overflow="fold")
    both = (one.here, one.there)
    unlike = one.unlike
    alike = [name for each in both if each for name in each.saw if name not in unlike]
    table.add_row("decision", *("-" if each is None else str(each.number) for each in both))
    table.add_row(
        "time_s", *("-" if each is None else number(each.decision.time_s) for each in both)
    )
    if len({each.decision.policy for each in both if each}) > 1:
        table.add_row(
            "policy", *("-" if each is None else escape(each.decision.policy) for each in both)
        )
    if len({(each.decision.session, each.decision.chunk) for each in both if each}) > 1:
        table.add_row("about", *map(about, both))
    table.add_row("chose", *(escape(chosen(each)) for each in both), end_section=True)
    for wanted, style in ((unlike, "bold"), (list(dict.fromkeys(alike)), "")):
        for name in wanted:
            cells = (number(None if each is None else each.saw.get(name)) for each in both)
            table.add_row(f"saw {escape(name)}", *cells, style=style)
        table.add_section()
    return table


def difference_tables(one: Beside) -> list[Table]:
    """The first difference of all, and the first one in more than seconds where that is another."""
    tables = []
    if one.difference is not None:
        tables.append(difference_table("first difference", one.difference, one.names))
    if one.beyond_seconds not in (None, one.difference):
        assert one.beyond_seconds is not None
        heading = "first difference in more than seconds"
        tables.append(difference_table(heading, one.beyond_seconds, one.names))
    return tables


def validated_table(found: Sequence[Validated]) -> Table:
    """What is said of the decisions of each deployment of a validation."""
    table = Table(
        title="decisions: policies asked again, and the prediction beside a real run",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_header=False,
    )
    table.add_column("", overflow="fold")
    for one in found:
        table.add_row(f"[bold]{escape(one.label)}[/bold]")
        for line in words_validated(one):
            table.add_row(f"  {escape(line)}", style="" if one.ok else "bold red")
    return table
