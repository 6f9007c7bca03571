"""What will a deployment do? Build its processes, let virtual time pass, return the records."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import simpy

from streamtwin.core.capacity import check_capacity, sessions_at_once
from streamtwin.core.controller import Controller
from streamtwin.core.edges import Edge
from streamtwin.core.errors import RunError
from streamtwin.core.fleet import named_link, stage_model
from streamtwin.core.latency import LatencyModel
from streamtwin.core.memory import most_memory
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.core.records import ChunkRecord, Recorder, Records
from streamtwin.core.ring import Row
from streamtwin.core.run_info import partition_decision, run_info
from streamtwin.core.shared_pass import services
from streamtwin.sim.exchange import Meeting
from streamtwin.sim.link import Link
from streamtwin.sim.loops import follow, lead
from streamtwin.sim.members import member_spans
from streamtwin.sim.services import Level, Parts, ServiceTimes
from streamtwin.sim.station import Station


def simulate(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion] = (),
    *,
    level: Level = "mean",
    noise: bool | None = None,
    run: int = 0,
    first_rank: int = 0,
) -> Records:
    """Run *plan* in virtual time on the service times that *latency* predicts.

    *motion* has how much the frames of each camera chunk move (a still picture where it is shorter). *level*
    picks the mean of every prediction or an end of its interval; *noise* overrides the
    scenario's `service_noise`. *run* 0 is the expected run; any other number is a replication, with
    noise, whose processes start anew and are all a little faster or slower than expected (see
    `sim.services`). The same arguments give the same records, bit for bit. *first_rank* is rank 0's
    number among those of several replicas: each draws its own noise.

    Raises:
        CalibrationError: the latency model cannot answer for an operation of this plan.
        ScenarioError: the plan knows the memory of its ranks, and does not fit.
        RunError: nothing can move any more.
    """
    check_capacity(plan)
    env = simpy.Environment()
    recorder = Recorder(decisions=[partition_decision(plan)])
    draw = plan.scenario.service_noise if noise is None else noise

    def times_of(model: LatencyModel, rank: int, parts: Parts | None = None) -> ServiceTimes:
        seat, seed = first_rank + rank, plan.scenario.seed
        return ServiceTimes(model, seed, seat, noise=draw, level=level, run=run, parts=parts)

    shared = partial(services, plan) if plan.members > 1 else None
    times = [
        times_of(stage_model(plan, stage, latency), stage.rank, None if stage.vae_only else shared)
        for stage in plan.stages
    ]
    own = {stage.rank: each for stage, each in zip(plan.stages, times, strict=True)}
    hops = {
        edge: own[edge.sender] if (model := named_link(edge, latency)) is None
        else times_of(model, edge.sender)
        for edge in plan.edges
    }  # fmt: skip
    links = {edge: Link(env, plan, edge, hops[edge]) for edge in plan.edges}
    emitted = simpy.Store(env)
    meeting = Meeting(env, plan)
    stations = [
        Station(env, plan, stage, own, recorder, *_ends(plan, links, stage.rank), emitted, meeting)
        for stage, own in zip(plan.stages, times, strict=True)
    ]
    controller = Controller(plan, recorder)
    leading = env.process(lead(stations[0], controller, motion))
    env.process(viewer(plan, emitted, recorder))
    for link in links.values():
        env.process(link.carry())
    for station in stations[1:]:
        env.process(follow(station))
    env.run()
    if not leading.triggered:
        raise RunError(_stuck(stations, controller, env.now))
    recorder.spans += member_spans(plan, recorder.spans)
    provenance = {**_provenance(latency, [*times, *hops.values()]), "engine": "simpy"}
    had = {station.stage.rank: station.exchange.had for station in stations}
    ranks = range(plan.ranks)
    at_once = sessions_at_once(plan.scenario)
    memory = [most_memory(plan, had.get(rank, [plan.stage_of(rank)]), at_once) for rank in ranks]
    return recorder.records(run_info(plan, "simulated", provenance, memory))


def _ends(plan: Plan, links: dict[Edge, Link], rank: int) -> tuple[Link | None, tuple[Link, ...]]:
    """The links on which *rank* receives, and sends."""
    into = plan.inward(rank)
    inward = None if into is None else links[into]
    return inward, tuple(links[edge] for edge in plan.outward(rank))


def viewer(
    plan: Plan, emitted: simpy.Store, recorder: Recorder
) -> Generator[simpy.Event, Any, None]:
    """Take in every chunk as it is emitted."""
    while True:
        row, now_s = yield emitted.get()
        assert isinstance(row, Row)
        taken: ChunkRecord = recorder.chunks[row.session, row.chunk]
        frames = plan.scenario.shape.frames_of(row.ordinal)
        recorder.chunks[row.session, row.chunk] = replace(
            taken, emitted_s=now_s, frames=frames, outcome="emitted"
        )


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
    scattered = any(own.scatters for own in times)
    return "repetitions in the profile" if scattered else "none: the profile has no repetitions"


def _stuck(stations: list[Station], controller: Controller, now_s: float) -> str:
    last = {
        station.stage.rank: next(
            (s for s in reversed(station.recorder.spans) if s.rank == station.stage.rank), None
        )
        for station in stations
    }
    did = "; ".join(
        f"rank {rank} last did {span.kind} of item {span.item} until {span.ended_s:.3f} s"
        if span is not None
        else f"rank {rank} never began"
        for rank, span in last.items()
    )
    under_way = [item.index for item, _ in controller.ring.outstanding]
    return f"nothing moves after {now_s:.3f} s of virtual time: {did}; items out: {under_way}"
