"""How are the processes of one start run?"""

import time
from collections.abc import Callable

from streamtwin.calibrate.grid import PartKind
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.ranks import Said, measure_hops, measure_kernels, measure_transfers
from streamtwin.calibrate.schedule import Start
from streamtwin.runtime.processes import Target, run_ranks

Launch = Callable[[Start, float, Callable[[Said], None]], list[list[Measurement]]]
"""Performs a start within so many seconds, says how far it is, returns each rank's measurements."""

START_TIMEOUT_S = 600.0
"""Seconds until the weights must be there: 14 billion numbers are drawn."""

_TARGETS: dict[PartKind, Target] = {
    "kernels": measure_kernels,
    "hops": measure_hops,
    "transfers": measure_transfers,
}


def start_ranks(
    start: Start, budget_s: float, hear: Callable[[Said], None]
) -> list[list[Measurement]]:
    """Start the processes of *start* and let them measure until *budget_s* from now.

    Raises:
        RunError: a rank failed or died.
    """
    part = start.part
    results = run_ranks(
        _TARGETS[part.kind],
        part.ranks,
        (part.request, start.cases, time.monotonic() + budget_s),
        start_timeout_s=START_TIMEOUT_S,
        on_progress=lambda _, said: hear(said),
    )
    return [measured for measured, _ in results]
