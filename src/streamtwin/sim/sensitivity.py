"""What would a faster service bring, in frame rate and in latency?

The deployment is simulated again with one kind of service, or all services of one rank, a tenth
faster, and everything else as it was: the same draws for the same purpose, so that what changes is
not luck. A service beside the critical cycle brings nothing, however long it takes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import log
from typing import Any

from streamtwin.core.closed_period import period_terms
from streamtwin.core.fleet import Fleet, through
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.motion import Motion
from streamtwin.core.ops import Family, Op, family_of
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.sim.replicas import simulate_deployment

FACTOR = 0.9
"""A service that is a tenth faster takes this share of its time."""

SPANS: dict[Family, str] = {
    "encode": "encode",
    "dit": "dit",
    "decode": "decode",
    "hop": "hop",
    "migration": "move",
}
"""Families of services, each with the kind of span by which a run shows that it has any."""


@dataclass(frozen=True, slots=True)
class ScaledLatency:
    """*latency* with the operations of one *family* taking *factor* times as long."""

    latency: LatencyModel
    family: Family
    factor: float

    @property
    def provenance(self) -> Provenance:
        """That of the model scaled."""
        return self.latency.provenance

    def predict(self, op: Op) -> Prediction:
        """Predict *op*, scaled if it is of the family."""
        told = self.latency.predict(op)
        if family_of(op) != self.family:
            return told
        scaled = (self.factor * time_s for time_s in (told.mean_s, told.low_s, told.high_s))
        mean_s, low_s, high_s = scaled
        return replace(told, mean_s=mean_s, low_s=low_s, high_s=high_s)

    def noise(self, op: Op) -> Sequence[float]:
        """That of the model scaled: noise is relative."""
        return self.latency.noise(op)

    def between(self, op: Op) -> float:
        """That of the model scaled."""
        return self.latency.between(op)

    def host(self, rank: int) -> HostState:
        """That of the model scaled: it is relative."""
        return self.latency.host(rank)


@dataclass(frozen=True, slots=True)
class Gain:
    """What it brings if `what` takes a tenth less time.

    Changes are relative. An elasticity is the change of the figure's logarithm over that of the
    service time, with the sign that makes a gain positive: 1 if fps grows by what the service shrinks.
    `on_path` is the share of the critical path, which is the elasticity of fps to a small
    change. `closed_period_s` is the period by closed form of the mean
    times, None where there is none.
    """

    what: str
    fps: float
    fps_change: float
    fps_elasticity: float
    latency_p95_s: float
    latency_p95_change: float
    latency_p95_elasticity: float
    period_s: float
    closed_period_s: float | None
    on_path: float | None


def sensitivity(
    plan: Plan,
    latency: LatencyModel,
    motion: Sequence[Motion] = (),
    *,
    done: Callable[[], None] = lambda: None,
) -> list[Gain]:
    """What a tenth less time of each kind of service, and of each rank's services, brings *plan*.

    Raises:
        RunError: a run is too short to have figures.
    """
    records = simulate_deployment(plan, latency, motion)
    base = compute_metrics(records)
    gains: list[Gain] = []
    for what, changed, model, on_path in _changes(plan, latency, records, base):
        again = compute_metrics(_as_asked(plan, simulate_deployment(changed, model, motion)))
        terms = period_terms(changed, model) if _alike(plan, latency) else None
        closed_s = None if terms is None else max(terms.values())
        gains.append(_gain(what, base, again, closed_s, on_path))
        done()
    return gains


def cases(plan: Plan) -> int:
    """How many simulations `sensitivity` takes at most, beside the one of the plan itself."""
    return len(SPANS) + plan.ranks


def document(gains: Sequence[Gain]) -> dict[str, Any]:
    """The gains as `metrics.json` has them."""
    return {"factor": FACTOR, "gains": [asdict(gain) for gain in gains]}


def _changes(
    plan: Plan, latency: LatencyModel, records: Records, base: dict[str, Any]
) -> Iterator[tuple[str, Plan, LatencyModel, float | None]]:
    """What is made faster: its name, plan and latency model, and its share of the critical path."""
    present = {span.kind for span in records.spans}
    # members and copies share a walk with others, whose parts are not this rank's alone
    alone = plan.members == 1 and plan.scenario.deployment.replicas == 1
    path = (base["critical_cycle"] or {}).get("path") if alone else None

    def share(*kinds: str, rank: int | None = None) -> float | None:
        if path is None:
            return None
        own = (part for part in path if part["kind"] in kinds and rank in {None, part["rank"]})
        return float(sum(part["share"] for part in own))

    for family, kind in SPANS.items():
        if kind in present:
            yield family, plan, through(partial(_scaled, family), latency), share(kind)
    for stage in plan.stages:
        rank = stage.rank
        yield (
            f"rank {rank}",
            _faster_rank(plan, rank),
            latency,
            share("encode", "dit", "decode", rank=rank),
        )


def _alike(plan: Plan, latency: LatencyModel) -> bool:
    """Whether all ranks and links have the times of one profile, as the closed form takes it."""
    if plan.members > 1 or not isinstance(latency, Fleet):
        return plan.members == 1
    cards = all(model is latency.models[0] for model in latency.models)
    return cards and all(latency.link(edge) is None for edge in plan.edges)


def _scaled(family: Family, latency: LatencyModel) -> LatencyModel:
    return ScaledLatency(latency, family, FACTOR)


def _faster_rank(plan: Plan, rank: int) -> Plan:
    """*plan* with the services of *rank* a tenth faster: a slowdown below 1, which none may ask for."""
    scenario = plan.scenario
    slower = {**scenario.deployment.slowdown}
    slower[rank] = FACTOR * slower.get(rank, 1.0)
    deployment = scenario.deployment.model_copy(update={"slowdown": slower})
    return replace(plan, scenario=scenario.model_copy(update={"deployment": deployment}))


def _as_asked(plan: Plan, records: Records) -> Records:
    """*records* under the scenario of *plan*, whose promises and sessions hold for them too."""
    scenario = plan.scenario.model_dump(mode="json")
    return replace(records, info=replace(records.info, scenario=scenario))


def _gain(
    what: str,
    base: dict[str, Any],
    again: dict[str, Any],
    closed_s: float | None,
    on_path: float | None,
) -> Gain:
    before_s, after_s = base["latency_s"]["p95"], again["latency_s"]["p95"]
    return Gain(
        what=what,
        fps=again["fps"],
        fps_change=again["fps"] / base["fps"] - 1,
        fps_elasticity=-log(again["fps"] / base["fps"]) / log(FACTOR),
        latency_p95_s=after_s,
        latency_p95_change=after_s / before_s - 1,
        latency_p95_elasticity=log(after_s / before_s) / log(FACTOR),
        period_s=again["period_s"],
        closed_period_s=closed_s,
        on_path=on_path,
    )
