"""Which decisions did runs make, and do their policies make them again?

`streamtwin compare --decisions`, and the part of `streamtwin validate` that says the same of real
runs and their prediction.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from streamtwin.cli.naming import naming, of_variant
from streamtwin.cli.output import show
from streamtwin.core.records import Records

if TYPE_CHECKING:
    from rich.table import Table


def compare_decisions(runs: Sequence[Path], *, as_json: bool) -> None:
    """Ask the policies of all *runs* again, and lay every log beside that of the first run.

    Raises:
        UserError: a folder holds no run or no whole log, or runs are of different scenarios.
        Exit: with status 1 if a policy does not choose again what it chose.
    """
    from streamtwin.cli.damage import sound  # noqa: PLC0415
    from streamtwin.reports.decision_tables import (  # noqa: PLC0415
        again_table,
        beside_table,
        difference_table,
        difference_tables,
    )
    from streamtwin.reports.decisions import (  # noqa: PLC0415
        again_document,
        asked_again,
        beside,
        beside_document,
    )
    from streamtwin.reports.store import finite_or_null, read_run  # noqa: PLC0415

    read, again = [], []
    for run in runs:
        with sound(run):
            read.append(read_run(run).records)
            again.append(asked_again(str(run), read[-1]))
    pairs = []
    for run, records in zip(runs[1:], read[1:], strict=True):
        with naming(f"{runs[0]} and {run}"):
            pairs.append(beside((str(runs[0]), str(run)), read[0], records))
    same = all(one.difference is None for one in again)
    tables = [again_table(again)]
    tables += [
        difference_table("first difference", one.difference, ("recorded", "asked again"))
        for one in again
        if one.difference is not None
    ]
    for pair in pairs:
        tables += [beside_table(pair), *difference_tables(pair)]
    document: Any = finite_or_null(
        {
            "schema": 1,
            "ok": same,
            "replays": [again_document(one) for one in again],
            "logs": [beside_document(pair) for pair in pairs],
        }
    )
    show(document, tables, as_json)
    if not same:
        raise typer.Exit(1)


class Tried(Protocol):
    """One deployment: what was predicted, and the real runs of it."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def predicted(self) -> Records:
        """The prediction."""
        ...

    @property
    def measured(self) -> list[Records]:
        """The real runs."""
        ...


def with_decisions(
    tried: Sequence[Tried], document: Mapping[str, Any], table: "Table"
) -> "tuple[dict[str, Any], list[Table]]":
    """What a validation says, and what its decisions say: for programs, and in tables.

    Policies of all runs that were *tried* are asked again; predictions are laid beside real runs.
    """
    from streamtwin.reports.decision_tables import validated_table  # noqa: PLC0415
    from streamtwin.reports.decision_words import words_validated  # noqa: PLC0415
    from streamtwin.reports.decisions import validated, validated_document  # noqa: PLC0415
    from streamtwin.reports.store import finite_or_null  # noqa: PLC0415

    found = []
    for one in tried:
        with of_variant(one.label, one.predicted.info.scenario):
            found.append(validated(one.label, one.predicted, one.measured))
    words = [f"{one.label}: {line}" for one in found for line in words_validated(one)]
    decisions = finite_or_null({**validated_document(found), "words": words})
    return {**document, "decisions": decisions}, [table, validated_table(found)]
