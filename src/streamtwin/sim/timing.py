"""Whose service times does each rank and each link of a deployment have?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from streamtwin.core.edges import Edge
from streamtwin.core.fleet import named_link, stage_model
from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.core.shared_pass import services
from streamtwin.core.stages import Stage
from streamtwin.sim.services import Level, Parts, ServiceTimes


@dataclass(frozen=True, slots=True)
class Draw:
    """How service times are drawn: with noise or without, at which level, in which run.

    *first_rank* is rank 0's number among those of several replicas: each draws its own noise.
    """

    noise: bool
    level: Level = "mean"
    run: int = 0
    first_rank: int = 0

    def times(
        self, plan: Plan, model: LatencyModel, rank: int, parts: Parts | None = None
    ) -> ServiceTimes:
        """What draws the times of *rank* from *model*."""
        return ServiceTimes(
            model, plan.scenario.seed, self.first_rank + rank, noise=self.noise, level=self.level,
            run=self.run, parts=parts, first_rank=self.first_rank,
            luck=plan.luck,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timing:
    """Service times of every stage, in order, and of every link."""

    stages: tuple[ServiceTimes, ...]
    hops: Mapping[Edge, ServiceTimes]

    def __iter__(self) -> Iterator[ServiceTimes]:
        """All of them, once each."""
        each = {id(times): times for times in (*self.stages, *self.hops.values())}
        return iter(each.values())


def timing_of(plan: Plan, latency: LatencyModel, draw: Draw) -> Timing:
    """The times that *latency* predicts for *plan*: of a fleet each rank has its own card's.

    A hop takes what its sender's profile says, unless the scenario names or implies a link.
    """

    def of_stage(stage: Stage) -> ServiceTimes:
        shared = plan.members > 1 and not stage.vae_only
        parts = partial(services, plan) if shared else None
        return draw.times(plan, stage_model(plan, stage, latency), stage.rank, parts)

    stages = tuple(of_stage(stage) for stage in plan.stages)
    own = {stage.rank: times for stage, times in zip(plan.stages, stages, strict=True)}

    def of_link(edge: Edge) -> ServiceTimes:
        named = named_link(edge, latency)
        return own[edge.sender] if named is None else draw.times(plan, named, edge.sender)

    return Timing(stages, {edge: of_link(edge) for edge in plan.edges})
