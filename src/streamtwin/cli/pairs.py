"""May the replications of two stored runs be compared pair by pair, and what do the pairs say?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamtwin.reports.store import Run
    from streamtwin.sim.replications import Difference


def paired(runs: Sequence["Run"]) -> "dict[str, Difference] | None":
    """By how much the second of two simulated *runs* exceeds the first, figure by figure.

    None unless both have equally many replications of one seed: only those drew the same.
    """
    from streamtwin.sim.replications import differences  # noqa: PLC0415

    told = [each for run in runs if (each := run.metrics.get("replications"))]
    if not len(told) == len(runs) == 2:
        return None
    first, second = told
    if any(first[key] != second[key] for key in ("count", "seed")):
        return None
    return differences(first["values"], second["values"])
