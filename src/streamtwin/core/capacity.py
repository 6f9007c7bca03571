"""How many sessions does each rank's memory hold, and does the deployment fit at all?"""

from streamtwin.core.errors import ScenarioError
from streamtwin.core.layout import evenly, lay_out
from streamtwin.core.memory import MIB, most_memory, rank_memory
from streamtwin.core.plan import Plan
from streamtwin.core.scenario import Scenario
from streamtwin.core.terms import terms_of


def sessions_at_once(scenario: Scenario) -> int:
    """Most sessions that are there together, if each lasts as long as its input takes to play."""
    shape, changes = scenario.shape, []
    for session in range(scenario.workload.sessions):
        visit, fps = scenario.visit(session), terms_of(scenario, session).playout_fps
        joins_s, paused_s = visit.join_s, sum(end - begin for begin, end in visit.idle)
        lasts_s = (shape.last_frame(scenario.chunks_of(session) - 1) + 1) / fps + paused_s
        changes += [(joins_s, 1), (joins_s + lasts_s, -1)]
    there, most = 0, 0
    for _, change in sorted(changes):
        there += change
        most = max(most, there)
    return most


def need_bytes(plan: Plan, rank: int, sessions: int) -> int:
    """Bytes that *rank* of *plan* holds for so many sessions."""
    return sum(rank_memory(plan, plan.stage_of(rank), sessions).values())


def sessions_of_rank(plan: Plan, rank: int, capacity_bytes: float) -> int:
    """Sessions that *rank* has room for in *capacity_bytes*; -1 where none is and it does not fit.

    A rank that keeps nothing for sessions has room for `UNBOUNDED` of them.
    """
    empty, one = (need_bytes(plan, rank, count) for count in (0, 1))
    if empty > capacity_bytes:
        return -1
    fits = int((capacity_bytes - empty) // (one - empty)) if one > empty else UNBOUNDED
    # a session with a second prompt holds more than the first one: take back what does not fit
    while 0 < fits < UNBOUNDED and need_bytes(plan, rank, fits) > capacity_bytes:
        fits -= 1
    return min(fits, UNBOUNDED)


UNBOUNDED = 10**9
"""Sessions of a rank that keeps nothing for them."""


def most_sessions(plan: Plan) -> int | None:
    """Sessions that *plan*'s ranks have room for at once; None where memory is not known."""
    if not plan.capacity_bytes:
        return None
    each = (
        sessions_of_rank(plan, rank, capacity) for rank, capacity in enumerate(plan.capacity_bytes)
    )
    return max(0, min(each))


def check_capacity(plan: Plan, sessions: int | None = None) -> None:
    """Refuse a plan that does not fit its ranks with *sessions*, by default those there at once.

    Raises:
        ScenarioError: names every rank that is too full, with what it needs, by purpose, what it
            has, and what would fit.
    """
    if not plan.capacity_bytes:
        return
    there = min(sessions_at_once(plan.scenario), plan.resident)
    count = there if sessions is None else sessions
    full = []
    for rank, capacity in enumerate(plan.capacity_bytes):
        memory = most_memory(plan, [plan.stage_of(rank)], count)
        if (need := sum(memory.values())) > capacity:
            parts = ", ".join(f"{name} {value / MIB:,.0f}" for name, value in memory.items())
            full.append(
                f"rank {rank} needs {need / MIB:,.0f} MiB ({parts}) and has {capacity / MIB:,.0f}"
            )
    if full:
        raise ScenarioError(
            f"{plan.scenario.name}: {count} session(s) do not fit: {'; '.join(full)} MiB "
            f"(a card's memory less deployment.reserve_bytes). {_would_fit(plan, count)}"
        )


def _would_fit(plan: Plan, count: int) -> str:
    """What of sessions or ranks would fit, as far as it is simple to say."""
    fits = most_sessions(plan)
    if fits:
        return f"It has room for {fits} session(s)"
    deployment = plan.scenario.deployment
    if not deployment.fleet and deployment.hosts is None and plan.members == 1:
        for ranks in range(plan.ranks + 1, plan.model.blocks + 2 * deployment.dedicated + 1):
            if _fits(plan, ranks, count):
                return f"deployment.gpus = {ranks} would fit"
    return "Use larger cards, fewer steps, a smaller window, resolution or model"


def _fits(plan: Plan, ranks: int, count: int) -> bool:
    """Whether the scenario fits so many ranks like rank 0 when its blocks are spread evenly."""
    scenario = evenly(plan.scenario)
    changed = {"gpus": ranks, "slowdown": {}, "partition": type(scenario.deployment.partition)()}
    spread = scenario.deployment.model_copy(update=changed)
    wider = lay_out(scenario.model_copy(update={"deployment": spread}), itemsize=plan.itemsize)
    return all(
        need_bytes(wider, rank, count) <= plan.capacity_bytes[0] for rank in range(wider.ranks)
    )
