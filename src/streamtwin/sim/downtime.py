"""What is noted of a time in which a whole ring stands?"""

from collections.abc import Mapping

from streamtwin.core.plan import Plan
from streamtwin.core.records import Span
from streamtwin.core.recovery import COLD, Recovery, cold_start_of, events_of, weights_bytes
from streamtwin.sim.log import RunLog


def note_downtime(
    plan: Plan, log: RunLog, recovery: Recovery, saw: Mapping[str, float] | None = None
) -> None:
    """Note *recovery* in *log*: what happened when, and that every rank stood.

    *saw* is what a death found under way.
    """
    log.decisions += events_of(recovery, saw or {})
    if recovery.resumed_s > recovery.died_s:
        log.spans += [_stood(plan, stage.rank, recovery) for stage in plan.stages]


def note_cold_start(plan: Plan, log: RunLog) -> None:
    """Note that *plan*'s ranks begin without weights, if they do."""
    cold = cold_start_of(plan)
    if cold is not None:
        note_downtime(plan, log, cold)


def _stood(plan: Plan, rank: int, recovery: Recovery) -> Span:
    cold, dead = recovery.state == COLD, recovery.rank == rank
    loads = recovery.weights_bytes + recovery.state_bytes if dead else 0
    size_bytes = weights_bytes(plan, rank) if cold else loads
    peer = -1 if cold or dead else recovery.rank
    return Span(
        rank, "recovery", recovery.died_s, recovery.resumed_s, 0, -1, 0, 0, size_bytes, peer
    )
