"""In which order do the ranks of a shape do what, turn by turn?

The order follows from the shape and from one decision: whether the last result of a live session's
first chunk comes back while rank 0 waits for the next chunk, or later. What an instant is, is left open
(`sim.turn_costs`).
"""

from abc import ABC, abstractmethod
from typing import Any, Generic

from streamtwin.core.errors import RunError
from streamtwin.core.plan import Plan
from streamtwin.core.ring import START, Item, Ring, Row
from streamtwin.sim.turn_costs import At, TurnCosts
from streamtwin.sim.turn_ranks import Steps, TurnLink, TurnRank


class Turns(ABC, Generic[At]):
    """One walk through the turns of *plan*'s shape, on its first *chunks* chunks."""

    def __init__(self, plan: Plan, costs: TurnCosts[At, Any], chunks: int) -> None:
        self.plan, self.costs, self.chunks = plan, costs, chunks
        self.steps, self.stream_batch = plan.steps, plan.scenario.deployment.stream_batch
        self.ring = Ring(plan.lanes, plan.steps, plan.max_rows)
        self.entered = self.emitted = 0
        self.giving: Item | None = None
        """What rank 0 has in its turn."""
        links = {edge: TurnLink(edge, costs) for edge in plan.edges}
        self.links = tuple(links.values())
        self.ranks = [TurnRank(plan, stage, costs, links, self.emit) for stage in plan.stages]

    @abstractmethod
    def emit(self, chunk: int, at_s: At) -> None:
        """Note that *chunk* came out, and count it."""

    @abstractmethod
    def waits(self, rank: TurnRank[At]) -> bool:
        """Whether the next chunk is not there yet, so that rank 0 takes a result back meanwhile."""

    @abstractmethod
    def await_chunk(self, rank: TurnRank[At], chunk: int) -> None:
        """Let *rank* wait until *chunk* is there; input that always waits is taken at once."""

    def walk(self) -> None:
        """Walk to the end.

        Raises:
            RunError: ranks wait for each other.
        """
        leading = self.lead(self.ranks[0])
        others = [rank.follow() for rank in self.ranks[1:]]
        running, sent, changes = True, -1, -1
        while running or self.emitted < self.chunks:
            running = next(leading, END) is None
            for one in others:
                next(one)
            if sent < self.ring.sent_items:  # most often; what happened on the links takes longer
                sent = self.ring.sent_items
                continue
            before, changes = changes, sum([link.changes for link in self.links])
            if before == changes and (running or self.emitted < self.chunks):
                raise RunError(
                    f"{self.plan.scenario.name}: no rank gets any further after "
                    f"{self.emitted} chunks; `simulate` says who waits for whom"
                )

    def lead(self, rank: TurnRank[At]) -> Steps:
        """Rank 0: first the first chunk by itself, then the lanes in turn."""
        for _ in range(self.steps):
            while self.ring.out(START):
                yield from self.take_back(rank)
            yield from self.give(rank, START, takes=self.entered == 0)
        while (lane := self.movable()) is not None or self.ring.outstanding:
            if lane is None:
                yield from self.take_back(rank)
                continue
            takes = self.takes(lane)
            if takes and self.ring.out(START) and self.waits(rank):
                yield from self.take_back(rank)
                continue
            yield from self.give(rank, lane, takes)
            yield  # let the others follow: so every turn is computed in the same order

    def movable(self) -> int | None:
        """The first lane in order that has rows or takes a chunk; None: a result must come first."""
        for lane in self.ring.in_order():
            if self.ring.out(lane):
                return None
            if self.takes(lane) or self.ring.rows(lane):
                return lane
        return None

    def takes(self, lane: int) -> bool:
        """Whether a chunk enters *lane*: without stream batch, only an empty one takes any."""
        room = self.stream_batch or not self.ring.rows(lane)
        return room and self.entered < self.chunks

    def give(self, rank: TurnRank[At], lane: int, takes: bool) -> Steps:
        """Give *lane* its turn, in which a chunk enters if it *takes* one."""
        new = (self.enter(rank),) if takes else ()
        item = self.giving = self.ring.compose(lane, new, frozenset())
        rank.forward(item)
        while self.ring.due():
            yield from self.take_back(rank)
        yield from rank.send(item)
        self.ring.sent(item, lane)
        rank.finish(item)
        self.giving = None

    def enter(self, rank: TurnRank[At]) -> Row:
        """Take the next chunk, once it is there, and encode it."""
        chunk, self.entered = self.entered, self.entered + 1
        self.await_chunk(rank, chunk)
        rank.clock_s = self.costs.encoded(rank.clock_s, rank.stage, chunk)
        return Row(0, chunk, chunk, 0)

    def take_back(self, rank: TurnRank[At]) -> Steps:
        """Take the oldest result back."""
        self.ring.returned()
        if not rank.stage.alone:
            yield from rank.receive()


END = object()
"""What a walk that is over gives."""
