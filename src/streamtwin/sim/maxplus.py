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
from streamtwin.core.plan import Plan
from streamtwin.sim.turn_ranks import TurnRank
from streamtwin.sim.turns import Turns
from streamtwin.sim.vector_costs import Instants, VectorCosts


@dataclass(frozen=True, slots=True)
class Releases:
    """When chunks of live inputs exist: of one shape, each at its own rate `fps`."""

    shape: ChunkShape
    fps: NDArray[np.float64]

    def at(self, chunk: int) -> Instants:
        """When that chunk exists in each deployment."""
        return self.shape.last_frame(chunk) / self.fps

    def only(self, chunk: int) -> float:
        """When that chunk exists in the one deployment that there is."""
        return self.shape.last_frame(chunk) / float(self.fps[0])

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


class Walk(Turns[Instants]):
    """One walk through the turns of a shape, for all deployments at once.

    *early* has what is known of results that come back while rank 0 waits for input: see `Differ`.
    """

    def __init__(
        self, plan: Plan, costs: VectorCosts, released: Releases | None, early: Sequence[bool]
    ) -> None:
        super().__init__(plan, costs, plan.scenario.chunks)
        self.released, self.early, self.decided = released, early, list[bool]()
        self.emitted_s = np.empty((self.chunks, costs.many))
        self.taken_s = np.empty_like(self.emitted_s) if released is None else None

    def course(self) -> Course:
        """Walk to the end.

        Raises:
            Differ: deployments decide differently.
            RunError: ranks wait for each other.
        """
        self.walk()
        return Course(self.emitted_s, self.taken_s)

    def emit(self, chunk: int, at_s: Instants) -> None:
        """Note when *chunk* came out."""
        self.emitted_s[chunk] = at_s
        self.emitted += 1

    def waits(self, rank: TurnRank[Instants]) -> bool:
        """Whether the next chunk is not there yet, so that rank 0 takes a result back meanwhile."""
        if self.released is None:
            return False
        place = len(self.decided)
        if place < len(self.early):
            self.decided.append(self.early[place])
        else:
            mask = self.released.at(self.entered) > rank.clock_s
            if mask.any() and not mask.all():
                raise Differ(mask, self.decided)
            self.decided.append(bool(mask[0]))
        return self.decided[-1]

    def await_chunk(self, rank: TurnRank[Instants], chunk: int) -> None:
        """Let *rank* wait until *chunk* is there; input that always waits is taken at once."""
        if self.released is not None:
            rank.clock_s = rank.clock_s + np.maximum(0.0, self.released.at(chunk) - rank.clock_s)
        if self.taken_s is not None:
            self.taken_s[chunk] = rank.clock_s
