"""What is noted of a time in which a whole ring stands?"""

from collections.abc import Mapping

from streamtwin.core.plan import Plan
from streamtwin.core.records import Span
from streamtwin.core.recovery import COLD, Recovery, cold_start_of, events_of
from streamtwin.sim.log import RunLog


def note_downtime(
    plan: Plan, log: RunLog, recovery: Recovery, saw: Mapping[str, float] | None = None
) -> None:
    """Note *recovery* in *log*: what happened when, and that every rank stood.

    *saw* is what a death found under way.
    """
    log.decisions += events_of(recovery, saw or {})
    if recovery.resumed_s > recovery.died_s:
        log.spans += [_stood(plan, rank, recovery) for rank in range(plan.ranks)]


def note_cold_start(plan: Plan, log: RunLog) -> None:
    """Note that *plan*'s ranks begin without weights, if they do."""
    cold = cold_start_of(plan)
    if cold is not None:
        note_downtime(plan, log, cold)


def _stood(plan: Plan, rank: int, recovery: Recovery) -> Span:
    own = recovery.state == COLD or recovery.rank == rank
    loaded, peer = recovery.loaded_bytes(plan, rank), -1 if own else recovery.rank
    return Span(rank, "recovery", recovery.died_s, recovery.resumed_s, 0, -1, 0, 0, loaded, peer)
