"""Which latency model answers for which rank, and for which link?

One model may answer for all. In a fleet each rank asks that of its own card, and each link that a
scenario names or implies the catalogue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from streamtwin.core.catalog import GpuSpec, LinkSpec
from streamtwin.core.edges import Edge
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance, ProvenanceKind
from streamtwin.core.link_latency import LinkLatency
from streamtwin.core.long_chunks import LongChunks
from streamtwin.core.mesh import link_among, link_between
from streamtwin.core.ops import Op
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.protocol import Layout
from streamtwin.core.ring import Item
from streamtwin.core.shared_latency import SharedLatency

WEAKEST: tuple[ProvenanceKind, ...] = ("assumed", "derived", "published", "measured")
"""What is known worst comes first: a sum is known no better than its parts."""


Change = Callable[[LatencyModel], LatencyModel]
"""What makes a latency model another one."""


def unchanged(model: LatencyModel) -> LatencyModel:
    """The *model* itself."""
    return model


@dataclass(frozen=True, slots=True)
class Fleet:
    """The latency models of a deployment's ranks; asked as one, it answers for rank 0.

    `cards` is empty where they are not known. `own_link` joins cards of one kind on a host, where
    a profile has no times of their exchanges. `changed` is what is made of every model that answers,
    and has been made of `models`; `bases` are these before, by default the same.
    """

    layout: Layout
    models: tuple[LatencyModel, ...]
    cards: tuple[GpuSpec, ...]
    own_link: LinkSpec
    changed: Change = unchanged
    bases: tuple[LatencyModel, ...] = ()

    @property
    def provenance(self) -> Provenance:
        """Of all models together: as well known as the worst of them."""
        said = list(dict.fromkeys(model.provenance for model in self.models))
        if len(said) == 1:
            return said[0]
        kind = min((one.kind for one in said), key=WEAKEST.index)
        source = "; ".join(f"{one.source} ({one.kind})" for one in said)
        dates = "; ".join(dict.fromkeys(one.date for one in said))
        return Provenance(kind, source, dates, any(one.extrapolated for one in said))

    def predict(self, op: Op) -> Prediction:
        """What rank 0's model predicts; see `LatencyModel`."""
        return self.models[0].predict(op)

    def noise(self, op: Op) -> Sequence[float]:
        """What rank 0's model has seen; see `LatencyModel`."""
        return self.models[0].noise(op)

    def between(self, op: Op) -> float:
        """What rank 0's model knows of runs; see `LatencyModel`."""
        return self.models[0].between(op)

    def host(self, rank: int) -> HostState:
        """What the model of *rank* has seen; see `LatencyModel`."""
        return self.models[rank].host(rank)

    def link(self, edge: Edge) -> LatencyModel | None:
        """The model of *edge* where it is not what the sender's profile knows."""
        spec = link_between(self.layout, self.cards, edge.sender, edge.receiver)
        return None if spec is None else self.changed(LinkLatency(spec))

    def shared(self, members: range) -> LatencyModel:
        """The model of a stage that *members* share; a link answers where no profile has timed it."""
        bases = self.bases or self.models
        named = link_among(self.layout, self.cards, members)
        link = LinkLatency(named or self.own_link)
        own = tuple(bases[rank] for rank in members)
        return self.changed(SharedLatency(own, link, named is None))


@dataclass(frozen=True, slots=True)
class Changed:
    """One model for all ranks with *change* made of it: `model` is what *change* makes of `base`."""

    base: LatencyModel
    model: LatencyModel
    change: Change

    @property
    def provenance(self) -> Provenance:
        """That of the changed model."""
        return self.model.provenance

    def predict(self, op: Op) -> Prediction:
        """What the changed model predicts; see `LatencyModel`."""
        return self.model.predict(op)

    def noise(self, op: Op) -> Sequence[float]:
        """What the changed model has seen; see `LatencyModel`."""
        return self.model.noise(op)

    def between(self, op: Op) -> float:
        """What the changed model knows of runs; see `LatencyModel`."""
        return self.model.between(op)

    def host(self, rank: int) -> HostState:
        """What the changed model has seen; see `LatencyModel`."""
        return self.model.host(rank)

    def shared(self, members: range) -> LatencyModel:
        """The model of a stage that *members* share."""
        return self.change(SharedLatency((self.base,) * len(members)))


def through(change: Change, latency: LatencyModel) -> LatencyModel:
    """*latency* with *change* made of every model that answers in the end.

    What members share is worked out before, so that *change* sees how unsure that is too.
    """
    match latency:
        case Fleet():
            before, bases = latency.changed, latency.bases or latency.models
            models = tuple(map(change, latency.models))
            return replace(latency, models=models, bases=bases, changed=_both(before, change))
        case Changed():
            model = change(latency.model)
            return Changed(latency.base, model, _both(latency.change, change))
    return Changed(latency, change(latency), change)


def _both(first: Change, then: Change) -> Change:
    return lambda model: then(first(model))


def stage_model(plan: Plan, stage: Stage, latency: LatencyModel) -> LatencyModel:
    """What answers for the services of *stage*."""
    model = _of_members(plan, stage, latency)
    return LongChunks(model) if plan.scenario.extrapolate else model


def _of_members(plan: Plan, stage: Stage, latency: LatencyModel) -> LatencyModel:
    if stage.vae_only or plan.members == 1:
        return latency.models[stage.rank] if isinstance(latency, Fleet) else latency
    if isinstance(latency, Fleet | Changed):
        return latency.shared(range(stage.rank, stage.rank + plan.members))
    return SharedLatency((latency,) * plan.members)


def named_link(edge: Edge, latency: LatencyModel) -> LatencyModel | None:
    """What answers for a hop on *edge*; None: the sender's own model."""
    return latency.link(edge) if isinstance(latency, Fleet) else None


def hop_s(plan: Plan, item: Item, edge: Edge, latency: LatencyModel) -> float:
    """Predicted seconds in which *item* gets over *edge*."""
    own = latency.models[edge.sender] if isinstance(latency, Fleet) else latency
    return (named_link(edge, latency) or own).predict(plan.hop(item, edge)).mean_s
