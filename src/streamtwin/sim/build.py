"""Which stations and links does a plan have? The same for every engine."""

from collections.abc import Callable

from streamtwin.core.edges import Edge
from streamtwin.core.plan import Plan
from streamtwin.sim.exchange import Meeting
from streamtwin.sim.link import Link, Parcel
from streamtwin.sim.log import RunLog
from streamtwin.sim.station import Clock, Lasting, Station
from streamtwin.sim.timing import Timing


def stations_of(
    plan: Plan,
    timing: Timing,
    log: RunLog,
    meeting: Meeting,
    parcel: Callable[[], Parcel],
    clock: Callable[[], tuple[Clock, Lasting]],
) -> list[Station]:
    """The stations of *plan*, joined by its links.

    *parcel* and *clock* make a parcel, and a rank's clock with what makes it pass, in the way of
    the engine.
    """
    links = {edge: Link(plan, edge, timing.hops[edge], parcel) for edge in plan.edges}
    return [
        Station(*clock(), plan, stage, own, log, *_ends(plan, links, stage.rank), meeting)
        for stage, own in zip(plan.stages, timing.stages, strict=True)
    ]


def _ends(plan: Plan, links: dict[Edge, Link], rank: int) -> tuple[Link | None, tuple[Link, ...]]:
    """The links on which *rank* receives, and sends."""
    into = plan.inward(rank)
    inward = None if into is None else links[into]
    return inward, tuple(links[edge] for edge in plan.outward(rank))
