"""How many sessions does the memory of the ranks hold?"""

from collections.abc import Sequence
from dataclasses import replace

from streamtwin.core.errors import ScenarioError
from streamtwin.core.memory import MIB, rank_memory
from streamtwin.core.plan import Plan
from streamtwin.core.policies.session_admission import NEEDS_ROOM
from streamtwin.core.stages import Stage


def with_session_room(plan: Plan, capacity_bytes: float | Sequence[float]) -> Plan:
    """*plan* with the number of sessions that *capacity_bytes* a rank hold, where a policy asks.

    One number for all ranks, or one for each.

    Raises:
        ScenarioError: not even one fits; names the rank and the bytes.
    """
    entry = plan.scenario.workload.entry
    if entry.policy not in NEEDS_ROOM or entry.room is not None:
        return plan
    if isinstance(capacity_bytes, int | float):
        capacity_bytes = (capacity_bytes,) * plan.ranks
    has = tuple(capacity_bytes)
    rooms = {stage.rank: _room(plan, stage, has[stage.rank]) for stage in plan.stages}
    tightest = min(rooms, key=lambda rank: rooms[rank])
    if rooms[tightest] < 1:
        stage = next(stage for stage in plan.stages if stage.rank == tightest)
        need = _held_bytes(plan, stage, 1)
        raise ScenarioError(
            f"workload.entry.policy = {entry.policy!r}: rank {tightest} needs {need / MIB:,.0f} MiB "
            f"with a single session and has {has[tightest] / MIB:,.0f} MiB"
        )
    return replace(plan, session_room=min(rooms[tightest], plan.scenario.workload.sessions))


def one_session(plan: Plan) -> Plan:
    """*plan* as it is asked whether it fits at all, before it is known how many sessions do."""
    entry = plan.scenario.workload.entry
    unknown = entry.policy in NEEDS_ROOM and plan.session_room is None
    return replace(plan, session_room=1) if unknown else plan


def state_bytes(plan: Plan, stage: Stage) -> int:
    """Bytes that *stage* holds for one session more: K and V, prompts, what its VAE carries."""
    return _held_bytes(plan, stage, 2) - _held_bytes(plan, stage, 1)


def _room(plan: Plan, stage: Stage, capacity_bytes: float) -> int:
    free_bytes, each = capacity_bytes - _held_bytes(plan, stage, 0), state_bytes(plan, stage)
    sessions = plan.scenario.workload.sessions
    return sessions if not each else max(0, int(free_bytes // each))


def _held_bytes(plan: Plan, stage: Stage, sessions: int) -> int:
    """Bytes that *stage* holds beside so many sessions."""
    workload = plan.scenario.workload
    # as if two could come at all: a workload of one session has none more to hold
    several = workload.model_copy(update={"sessions": max(2, workload.sessions)})
    scenario = plan.scenario.model_copy(update={"workload": several})
    return sum(rank_memory(replace(plan, scenario=scenario, session_room=sessions), stage).values())
