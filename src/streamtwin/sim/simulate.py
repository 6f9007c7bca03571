"""What will a deployment do? Build its processes, let virtual time pass, return the records."""

from collections.abc import Sequence
from dataclasses import replace

from streamtwin.core.capacity import check_capacity, sessions_at_once
from streamtwin.core.latency import LatencyModel
from streamtwin.core.memory import most_memory
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.core.recovery import recovery_provenance
from streamtwin.core.roster import redrawn
from streamtwin.core.run_info import partition_decision, run_info
from streamtwin.sim.collector import collector_at_rest
from streamtwin.sim.downtime import note_cold_start
from streamtwin.sim.engines import PLAYERS, Engine, engine_for, set_aside
from streamtwin.sim.log import RunLog
from streamtwin.sim.members import with_members
from streamtwin.sim.services import Level, ServiceTimes
from streamtwin.sim.station import Station
from streamtwin.sim.timing import Draw, timing_of


def simulate(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion] = (),
    *,
    level: Level = "mean",
    noise: bool | None = None,
    run: int = 0,
    engine: Engine = "simpy",
    first_rank: int = 0,
    redraw: bool = True,
) -> Records:
    """Run *plan* in virtual time on the service times that *latency* predicts.

    *motion* has how much the frames of each camera chunk move (a still picture where it is shorter). *level*
    picks the mean of every prediction or an end of its interval; *noise* overrides the
    scenario's `service_noise`. *run* 0 is the expected run; any other number is a replication, with
    noise, whose processes start anew and are all a little faster or slower than expected (see
    `sim.services`), and whose sessions are drawn anew (see `core.roster`). *engine* computes the
    same records in another way, if it applies (see `sim.recurrence`); `auto` takes it where it does.
    Without *redraw* sessions stay those of the plan. *first_rank* is rank 0's number among those of
    several replicas: each draws its own noise.
    The same arguments give the same records, bit for bit.

    Raises:
        CalibrationError: the latency model cannot answer for an operation of this plan.
        ScenarioError: the plan knows the memory of its ranks, and does not fit; or the engine does
            not apply.
        RunError: nothing can move any more, or time passes and nothing is served.
    """
    if redraw:
        plan = replace(plan, scenario=redrawn(plan.scenario, run))
    chosen = check_simulable(plan, engine)
    overlaps = plan.scenario.deployment.overlaps
    log = RunLog(decisions=[partition_decision(plan)], overlaps=overlaps)
    note_cold_start(plan, log)
    noisy = plan.scenario.service_noise if noise is None else noise
    timing = timing_of(plan, latency, Draw(noisy, level, run, first_rank))
    with collector_at_rest():
        stations = PLAYERS[chosen](plan, timing, log, motion)
        provenance = {**_provenance(latency, list(timing)), "engine": chosen}
        provenance |= {**set_aside(plan, engine), **recovery_provenance(plan)}
        return with_members(
            plan, log.records(run_info(plan, "simulated", provenance, _memory(plan, stations)))
        )


def check_simulable(plan: Plan, asked: Engine) -> str:
    """The engine that computes *plan*, asked before anything is simulated.

    Raises:
        ScenarioError: the plan knows the memory of its ranks, and does not fit; or the engine *asked*
            for does not apply.
    """
    check_capacity(plan)
    return engine_for(plan, asked)


def _memory(plan: Plan, stations: Sequence[Station]) -> list[dict[str, int]]:
    """Bytes by purpose that each rank holds at most, if sessions last as long as their input plays."""
    had = {station.stage.rank: station.exchange.had for station in stations}
    sessions = min(sessions_at_once(plan.scenario), plan.resident)
    return [
        most_memory(plan, had.get(rank, [plan.stage_of(rank)]), sessions)
        for rank in range(plan.ranks)
    ]


def _provenance(latency: LatencyModel, times: Sequence[ServiceTimes]) -> dict[str, str]:
    source = latency.provenance
    extrapolated = source.extrapolated or any(own.extrapolated for own in times)
    others = sorted(
        f"{service} {kind}"
        for service, kind in set().union(*(own.says for own in times))
        if kind != source.kind
    )
    return {
        "service_times": "; ".join([source.kind, *others]),
        "profile": source.source,
        "profile_date": source.date,
        "extrapolated": str(extrapolated).lower(),
        "noise": _noise(times),
    }


def _noise(times: Sequence[ServiceTimes]) -> str:
    """From what service times scatter, or why they do not."""
    if not any(own.noise for own in times):
        return "none: not asked for"
    if not any(own.scatters for own in times):
        return "none: the profile has no repetitions"
    paced = any(own.pace for own in times)
    return f"repetitions in the profile{', and the pace of its host' if paced else ''}"
