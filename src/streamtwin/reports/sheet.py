"""What is a table before it is known whether it goes to the terminal or onto a page?"""

from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table for people: the first column has words, the others numbers; a note says what of.

    A terminal draws a *slim* one without lines, so that many columns fit in 80 characters.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    slim: bool = False


def as_table(sheet: Sheet) -> Table:
    """*sheet* for the terminal."""
    table = Table(
        title=escape(sheet.title),
        title_justify="left",
        box=box.SIMPLE_HEAD if sheet.slim else box.HEAVY_HEAD,
        pad_edge=not sheet.slim,
        collapse_padding=sheet.slim,
    )
    for column, heading in enumerate(sheet.head):
        table.add_column(escape(heading), justify="right" if column else "left")
    for row in sheet.rows:
        table.add_row(*map(escape, row))
    if sheet.note:
        table.caption, table.caption_justify = escape(sheet.note), "left"
    return table
