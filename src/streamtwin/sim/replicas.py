"""What do several copies of a pipeline behind a router do? One run each, told as one.

Rank r of copy i is rank i * W + r of the whole, where a copy has W ranks; sessions keep their numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from streamtwin.core.costs import forecast
from streamtwin.core.latency import LatencyModel
from streamtwin.core.memory import rank_memory
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.core.policies.router import WEIGHS_NOTHING
from streamtwin.core.records import RankInfo, Recorder, Records, RunInfo
from streamtwin.core.recovery import recovery_provenance, without_effect
from streamtwin.core.roster import redrawn
from streamtwin.core.routing import Routing, replica_plan, route
from streamtwin.core.run_info import run_info
from streamtwin.core.told_line import renumbered
from streamtwin.sim.engines import Engine
from streamtwin.sim.services import Level
from streamtwin.sim.simulate import check_simulable, simulate


def simulate_deployment(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion] = (),
    *,
    level: Level = "mean",
    noise: bool | None = None,
    run: int = 0,
    engine: Engine = "simpy",
    redraw: bool = True,
) -> Records:
    """As `simulate`, with all replicas that *plan*'s scenario asks for."""
    if redraw:  # once for all copies: each has some of the sessions
        plan = replace(plan, scenario=redrawn(plan.scenario, run))
    if plan.scenario.deployment.replicas == 1:
        return simulate(
            plan, latency, motion, level=level, noise=noise, run=run, engine=engine, redraw=False
        )
    routing = _routing(plan, latency)
    each = [
        simulate(
            copy,
            latency,
            motion,
            level=level,
            noise=noise,
            run=run,
            engine=engine,
            redraw=False,
            first_rank=replica * plan.ranks,
        )
        for replica, copy in _copies(plan, routing)
    ]
    taken = [(i, own) for i, own in enumerate(routing.sessions) if own]
    told = [
        told_as(records, replica * plan.ranks, sessions)
        for (replica, sessions), records in zip(taken, each, strict=True)
    ]
    whole = Recorder(decisions=list(routing.decisions))
    for records in told:
        whole.spans += records.spans
        whole.chunks |= {(one.session, one.chunk): one for one in records.chunks}
        whole.decisions += records.decisions
    whole.decisions += [
        without_effect(lost, 0.0)
        for lost in plan.scenario.trouble.lost_ranks
        if not routing.sessions[lost.rank // plan.ranks]
    ]
    return whole.records(_info(plan, told))


def check_deployment(plan: Plan, latency: LatencyModel, engine: Engine) -> None:
    """Refuse what `simulate_deployment` would refuse of *plan*, without simulating any of it.

    Raises:
        CalibrationError: the latency model cannot answer for what the router weighs.
        ScenarioError: a copy does not fit the memory of its ranks, or *engine* does not apply to it.
    """
    one = plan.scenario.deployment.replicas == 1
    copies = [(0, plan)] if one else _copies(plan, _routing(plan, latency))
    for _, copy in copies:
        check_simulable(copy, engine)


def _routing(plan: Plan, latency: LatencyModel) -> Routing:
    deployment = plan.scenario.deployment
    weighs = deployment.router not in WEIGHS_NOTHING
    turn_s = (forecast(plan, latency).turn_s[1],) * deployment.replicas if weighs else ()
    return route(plan.scenario, turn_s)


def _copies(plan: Plan, routing: Routing) -> list[tuple[int, Plan]]:
    """Number and plan of every copy that has sessions."""
    return [
        (replica, replica_plan(plan, sessions, replica))
        for replica, sessions in enumerate(routing.sessions)
        if sessions
    ]


def told_as(records: Records, first_rank: int, sessions: Sequence[int]) -> Records:
    """*records* of one copy with the numbers of the whole: from *first_rank* on, and of *sessions*."""

    def peer(rank: int) -> int:
        return rank if rank < 0 else first_rank + rank

    spans = [
        replace(s, rank=first_rank + s.rank, peer=peer(s.peer), session=sessions[s.session])
        for s in records.spans
    ]
    chunks = [replace(one, session=sessions[one.session]) for one in records.chunks]
    decisions = [
        replace(
            one,
            rank=first_rank + one.rank,
            session=sessions[one.session],
            saw=renumbered(one.saw, sessions) if one.family == "dispatch" else one.saw,
        )
        for one in records.decisions
    ]
    ranks = tuple(replace(one, rank=first_rank + one.rank) for one in records.info.ranks)
    info = replace(records.info, ranks=ranks)
    return Records(info, tuple(spans), tuple(chunks), tuple(decisions))


def _info(plan: Plan, told: Sequence[Records]) -> RunInfo:
    """What is written above the records of all copies; one without sessions holds its weights."""
    known = {one.rank: one for records in told for one in records.info.ranks}
    empty = [rank_memory(plan, plan.stage_of(rank), 0) for rank in range(plan.ranks)]
    idle = run_info(plan, "simulated", {}, empty).ranks
    replicas = plan.scenario.deployment.replicas
    first = told[0].info
    return replace(
        first,
        scenario=plan.scenario.model_dump(mode="json"),
        ranks=tuple(_ranks(known, idle, replicas)),
        provenance={**first.provenance, **_merged(told), **recovery_provenance(plan)},
    )


def _ranks(
    known: dict[int, RankInfo], idle: Sequence[RankInfo], replicas: int
) -> Iterable[RankInfo]:
    for replica in range(replicas):
        for own in idle:
            rank = replica * len(idle) + own.rank
            yield known.get(rank, replace(own, rank=rank))


def _merged(told: Sequence[Records]) -> dict[str, str]:
    """What copies may say differently: whether they extrapolated, which engine, and why that."""
    said = [one.info.provenance for one in told]
    extrapolated = any(one["extrapolated"] == "true" for one in said)
    engines = ", ".join(sorted({one["engine"] for one in said}))
    merged = {"extrapolated": str(extrapolated).lower(), "engine": engines}
    aside = [one["recurrence"] for one in said if "recurrence" in one]
    return {**merged, "recurrence": aside[0]} if aside else merged
