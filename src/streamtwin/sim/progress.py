"""Does a simulated run get anywhere, and if not, who waits for whom?"""

from collections.abc import Sequence

from streamtwin.core.controller import Controller
from streamtwin.core.errors import RunError
from streamtwin.core.records import SERVICES
from streamtwin.sim.log import RunLog
from streamtwin.sim.station import Station

PATIENCE = 100_000
"""Steps of a run in which something must be served: many more than waiting for input ever takes."""


class Progress:
    """Watches that what is noted of a run grows by services."""

    def __init__(self, log: RunLog, stations: Sequence[Station]) -> None:
        self.log, self.stations, self.patience = log, stations, PATIENCE
        self._seen = 0

    def check(self, now_s: float) -> None:
        """Look at what was noted since the last look.

        Raises:
            RunError: nothing was served in all those steps.
        """
        fresh, self._seen = self.log.spans[self._seen :], len(self.log.spans)
        if not any(span.kind in SERVICES for span in fresh):
            since_s = min((span.began_s for span in fresh), default=now_s)
            raise RunError(
                f"nothing is served while virtual time goes from {since_s:.3f} s to {now_s:.3f} s, "
                f"in {self.patience} steps: {self._circle()}; {self._did()}"
            )

    def stuck(self, now_s: float, controller: Controller) -> RunError:
        """The error of a run in which everybody waits for somebody else."""
        under_way = [item.index for item, _ in controller.ring.outstanding]
        return RunError(
            f"nothing moves after {now_s:.3f} s of virtual time: {self._circle()}; "
            f"{self._did()}; items out: {under_way}"
        )

    def _circle(self) -> str:
        """Who waits for whom, from rank 0 on, until a rank comes again or waits for nobody."""
        by_rank = {station.stage.rank: station for station in self.stations}
        rank, seen, chain = 0, list[int](), list[str]()
        while rank not in seen:
            seen.append(rank)
            waits = waits_for(by_rank[rank])
            if waits is None:
                return "; ".join([*chain, f"rank {rank} waits for no other rank"])
            why, peer = waits
            chain.append(f"rank {rank} waits for {why}")
            rank = peer
        circle = " -> ".join(f"rank {one}" for one in [*seen[seen.index(rank) :], rank])
        return f"{'; '.join(chain)} ({circle})"

    def _did(self) -> str:
        last = {
            one.rank: f"rank {one.rank} last did {one.kind} of item {one.item} until {one.ended_s:.3f} s"
            for one in self.log.spans
        }
        return "; ".join(last[rank] for rank in sorted(last)) or "nobody has begun"


def waits_for(station: Station) -> tuple[str, int] | None:
    """For what *station* waits, and for which rank; None if for no other."""
    if station.exchange.awaits is not None:
        return station.exchange.awaits
    parcel, inward = station.awaits, station.inward
    if parcel is None:
        return None
    if inward is not None and parcel is inward.asked:
        return f"an item of rank {inward.edge.sender}", inward.edge.sender
    for link in station.outward:
        if any(parcel is one for one in link.posted):
            to, many = link.edge.receiver, len(link.posted)
            holds = f"{many} of at most {link.edge.depth} items lie there untaken"
            return f"room on its link to rank {to}, where {holds}", to
    return None
