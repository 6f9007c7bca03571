"""Which of many deployments are worth a closer look? Their figures, without records.

Deployments of one shape are computed together (`sim.maxplus`); what cannot be is simulated one by
one. Service times are the expected ones, without noise; figures are those of `core.metrics`.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamtwin.core.capacity import check_capacity
from streamtwin.core.cards import Links
from streamtwin.core.latency import LatencyModel
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.sim.leap import leap_each
from streamtwin.sim.maxplus import Differ, Releases, Walk
from streamtwin.sim.recurrence import applies
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.vector_costs import VectorCosts
from streamtwin.sim.vector_metrics import Figures, figures_of, figures_of_metrics

AT_ONCE = 2048
"""Deployments that are computed together at most: their vectors still lie in a core's cache."""

INSTANTS_AT_ONCE = 30_000_000
"""Instants of chunks that are held at once at most, in two arrays of 240 MB."""


@dataclass(frozen=True, slots=True)
class Screened:
    """What was found of one deployment, and how: `one_by_one` says why it was simulated alone."""

    figures: Figures
    one_by_one: str | None


def screen(plans: Sequence[Plan], latency: Callable[[Plan], LatencyModel]) -> list[Screened]:
    """Figures of every one of *plans*, in order; *latency* has the latency model of each.

    Raises:
        CalibrationError: a latency model cannot answer for an operation.
        ScenarioError: the plan knows the memory of its ranks, and does not fit.
        RunError: a deployment emits fewer than three chunks.
    """
    found: dict[int, Screened] = {}
    shapes: dict[Hashable, list[int]] = {}
    for number, plan in enumerate(plans):
        check_capacity(plan)
        why = walks(plan)
        if why is None:
            shapes.setdefault(shape_of(plan), []).append(number)
        else:
            records = simulate_deployment(plan, latency(plan), noise=False, engine="auto")
            found[number] = Screened(figures_of_metrics(compute_metrics(records)), why)
    for alike in shapes.values():
        most = max(1, min(AT_ONCE, INSTANTS_AT_ONCE // plans[alike[0]].scenario.chunks))
        for first in range(0, len(alike), most):
            part = alike[first : first + most]
            some = [plans[number] for number in part]
            figures = together(some, [latency(plan) for plan in some])
            found |= {n: Screened(f, None) for n, f in zip(part, figures, strict=True)}
    return [found[number] for number in range(len(plans))]


def walks(plan: Plan) -> str | None:
    """None if the turns of *plan* follow from its shape, else why they do not."""
    return applies(plan) or next((why for why, holds in _reasons(plan) if holds), None)


def _reasons(plan: Plan) -> Iterator[tuple[str, bool]]:
    """Why deployments are not computed together, and whether it holds for *plan*."""
    deployment, workload = plan.scenario.deployment, plan.scenario.workload
    yield (
        "passes that ranks share, replicas and whole clips have costs of their own",
        plan.members > 1 or deployment.replicas > 1 or deployment.context == "chunk",
    )
    yield (
        "ranks and links of a mixed fleet each have costs of their own",
        bool(deployment.fleet or deployment.hosts) or deployment.links != Links(),
    )
    yield "what is extrapolated may be put together of parts", plan.scenario.extrapolate
    trouble = plan.scenario.trouble
    yield "a card or a link is slow for a while", bool(trouble.slow_cards or trouble.slow_links)
    yield "ranks begin without weights", trouble.cold_start is not None
    yield (
        "several sessions, or lanes of their own, take turns as their input comes",
        workload.sessions > 1 or bool(workload.visits) or deployment.lanes != "time",
    )
    yield (
        "sessions of classes, cameras that jitter and sessions that are let in are drawn or decided",
        bool(workload.classes or workload.phases or workload.arrivals or workload.motion)
        or not workload.camera.exact
        or workload.entry.policy != "accept_all",
    )
    yield (
        f"workload.admission = {workload.admission!r} depends on how long the queue gets",
        workload.admission != "accept_all",
    )
    yield (
        f"deployment.batching.policy = {deployment.batching.policy!r} weighs what waits",
        deployment.batching.policy != "fixed",
    )
    yield (
        "without a stream batch, which lanes a live input fills depends on who is first",
        workload.source_fps is not None and not deployment.stream_batch,
    )


def shape_of(plan: Plan) -> Hashable:
    """What deployments that do the same things in the same order have in common."""
    scenario, deployment = plan.scenario, plan.scenario.deployment
    return (
        plan.edges,
        tuple((stage.rank, stage.vae_only, stage.encodes, stage.decodes) for stage in plan.stages),
        (deployment.steps, deployment.stream_batch, plan.max_rows),
        (deployment.overlaps, deployment.decodes_before_send),
        (deployment.chunk_latents, deployment.window, scenario.chunks),
        scenario.workload.source_fps is None,
    )


def together(
    plans: Sequence[Plan], latencies: Sequence[LatencyModel], early: tuple[bool, ...] = ()
) -> list[Figures]:
    """Figures of *plans* of one shape, to which `walks` applies, in order, each on its own latencies.

    They decide alike as far as *early* says.

    Raises:
        RunError: fewer than three chunks are emitted.
    """
    live = releases(plans)
    leapt = leap_each(plans, latencies, live)
    if leapt is not None:
        return figures_of(plans, leapt, live)
    walk = Walk(plans[0], VectorCosts(plans, latencies), live, early)
    try:
        course = walk.course()
    except Differ as differ:
        found: dict[int, Figures] = {}
        for decides in (True, False):
            part = np.flatnonzero(differ.mask == decides).tolist()
            some, known = [plans[i] for i in part], [latencies[i] for i in part]
            figures = together(some, known, (*differ.early, decides))
            found |= dict(zip(part, figures, strict=True))
        return [found[i] for i in range(len(plans))]
    return figures_of(plans, course, live)


def releases(plans: Sequence[Plan]) -> Releases | None:
    """When chunks of live inputs exist; None: input always waits."""
    if plans[0].scenario.workload.source_fps is None:
        return None
    fps = np.array([plan.scenario.workload.source_fps for plan in plans], dtype=float)
    return Releases(plans[0].scenario.shape, fps)
