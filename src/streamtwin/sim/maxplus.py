"""When does every chunk come out of many like deployments at once? Max and plus on vectors.

Deployments of one shape do the same things in the same order and differ in how long each takes; so
one walk through the shape's turns computes all, each instant being a vector with an element for
each deployment. What is computed is one session with chunks that are all taken; input is live with a stream
batch, or always waits: then the order of rank 0's turns follows from the shape. But for one thing:
whether the last result of a live session's first chunk comes back while rank 0 waits for the next chunk, or
later. Where deployments differ in that, they are told apart (`Differ`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.errors import RunError
from streamtwin.core.plan import Plan
from streamtwin.core.ring import START, Ring, Row
from streamtwin.sim.vector_costs import VectorCosts
from streamtwin.sim.vector_ranks import Instants, Steps, VectorLink, VectorRank


@dataclass(frozen=True, slots=True)
class Releases:
    """When chunks of live inputs exist: of one shape, each at its own rate `fps`."""

    shape: ChunkShape
    fps: NDArray[np.float64]

    def at(self, chunk: int) -> Instants:
        """When that chunk exists in each deployment."""
        return self.shape.last_frame(chunk) / self.fps

    def of(self, chunks: range, part: slice) -> Instants:
        """When *chunks* exist in a *part* of the deployments: [chunks, deployments]."""
        return self.frames(chunks)[:, None] / self.fps[part]

    def frames(self, chunks: range) -> NDArray[np.int64]:
        """Numbers of the last frames of *chunks*, which are equally far apart."""
        first, second = self.shape.last_frame(0), self.shape.last_frame(1)
        return first + (second - first) * np.arange(chunks.start, chunks.stop, chunks.step)


class Differ(Exception):  # noqa: N818 - no error: deployments go separate ways
    """Deployments of one shape decide differently: `mask` says which take the result back first.

    `early` is what all decided alike before.
    """

    def __init__(self, mask: NDArray[np.bool_], early: Sequence[bool]) -> None:
        super().__init__()
        self.mask, self.early = mask, tuple(early)


@dataclass(frozen=True, slots=True)
class Course:
    """When each chunk came out, and was released: [chunks, deployments], in seconds.

    Input that always waits is released when it is taken. Of a live one, `released_s` is None.
    """

    emitted_s: Instants
    released_s: Instants | None


class Walk:
    """One walk through the turns of a shape.

    *early* has what is known of results that come back while rank 0 waits for input: see `Differ`.
    """

    def __init__(
        self, plan: Plan, costs: VectorCosts, released: Releases | None, early: Sequence[bool]
    ) -> None:
        self.plan, self.costs, self.released = plan, costs, released
        self.chunks, self.stream_batch = plan.scenario.chunks, plan.scenario.deployment.stream_batch
        self.emitted_s = np.empty((self.chunks, costs.many))
        self.taken_s = np.empty_like(self.emitted_s) if released is None else None
        self.emitted = 0
        self.ring = Ring(plan.lanes, plan.steps, plan.max_rows)
        self.early, self.decided = early, list[bool]()
        self.entered = 0

    def course(self) -> Course:
        """Walk to the end.

        Raises:
            Differ: deployments decide differently.
            RunError: ranks wait for each other.
        """
        plan, costs = self.plan, self.costs
        links = {edge: VectorLink(edge, costs) for edge in plan.edges}
        ranks = [VectorRank(plan, stage, costs, links, self.emit) for stage in plan.stages]
        leading = self.lead(ranks[0])
        others = [rank.follow() for rank in ranks[1:]]
        running, changes = True, -1
        while running or self.emitted < self.chunks:
            running = next(leading, END) is None
            for one in others:
                next(one)
            before = changes
            changes = self.ring.sent_items + sum(link.changes for link in links.values())
            if before == changes and (running or self.emitted < self.chunks):
                raise RunError(
                    f"{plan.scenario.name}: no rank gets any further after "
                    f"{self.emitted} chunks; `simulate` says who waits for whom"
                )
        return Course(self.emitted_s, self.taken_s)

    def emit(self, chunk: int, at_s: Instants) -> None:
        """Note that *chunk* came out."""
        self.emitted_s[chunk] = at_s
        self.emitted += 1

    def lead(self, rank: VectorRank) -> Steps:
        """Rank 0: first the first chunk by itself, then the lanes in turn."""
        for _ in range(self.plan.steps):
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

    def waits(self, rank: VectorRank) -> bool:
        """Whether the next chunk is not there yet, so that rank 0 takes a result back meanwhile."""
        if self.released is None:
            return False
        place = len(self.decided)
        if place < len(self.early):
            self.decided.append(self.early[place])
        else:
            mask = self.comes_after(self.entered, rank.clock_s)
            if mask.any() and not mask.all():
                raise Differ(mask, self.decided)
            self.decided.append(bool(mask[0]))
        return self.decided[-1]

    def comes_after(self, chunk: int, clock_s: Instants) -> NDArray[np.bool_]:
        """In which deployments *chunk* is not there yet."""
        assert self.released is not None
        return self.released.at(chunk) > clock_s

    def give(self, rank: VectorRank, lane: int, takes: bool) -> Steps:
        """Give *lane* its turn, in which a chunk enters if it *takes* one."""
        new = (self.enter(rank),) if takes else ()
        item = self.ring.compose(lane, new, frozenset())
        rank.forward(item)
        while self.ring.due():
            yield from self.take_back(rank)
        yield from rank.send(item)
        self.ring.sent(item, lane)
        rank.finish(item)

    def enter(self, rank: VectorRank) -> Row:
        """Take the next chunk, once it is there, and encode it."""
        chunk, self.entered = self.entered, self.entered + 1
        self.await_chunk(rank, chunk)
        rank.clock_s = rank.clock_s + self.costs.encode_s(rank.stage, chunk)
        return Row(0, chunk, chunk, 0)

    def await_chunk(self, rank: VectorRank, chunk: int) -> None:
        """Let *rank* wait until *chunk* is there; input that always waits is taken at once."""
        if self.released is not None:
            rank.clock_s = rank.clock_s + np.maximum(0.0, self.released.at(chunk) - rank.clock_s)
        if self.taken_s is not None:
            self.taken_s[chunk] = rank.clock_s

    def take_back(self, rank: VectorRank) -> Steps:
        """Take the oldest result back."""
        self.ring.returned()
        if not rank.stage.alone:
            yield from rank.receive()


END = object()
"""What a walk that is over gives."""
