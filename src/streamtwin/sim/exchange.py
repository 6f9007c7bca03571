"""How do blocks change hands between simulated ranks while the stream runs?

Twin of `streamtwin.runtime.exchange`: a rank posts what it gives and goes on; one that gets a
block waits until it is posted, and then for as long as a migration of its bytes takes.
"""

from collections import defaultdict
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import simpy

from streamtwin.core.moves import Tenants, moves_between
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.partition import intervals
from streamtwin.core.ring import Item
from streamtwin.sim.services import ServiceTimes

Steps = Generator[simpy.Event, Any, None]

PATIENCE = 2
"""Items behind a move after which its giver waits until all is taken, as in the runtime."""


class Meeting:
    """Where blocks lie between the rank that gives and the rank that gets them."""

    def __init__(self, env: simpy.Environment, plan: Plan) -> None:
        self.env, self.plan = env, plan
        self.posted: dict[tuple[int, int], simpy.Store] = defaultdict(lambda: simpy.Store(env))


class BlockExchange:
    """One rank's part in every move of blocks."""

    def __init__(self, meeting: Meeting, stage: Stage, times: ServiceTimes) -> None:
        self.meeting, self.stage, self.times = meeting, stage, times
        self.counts = tuple(len(each.blocks) for each in meeting.plan.stages)
        self.tenants = Tenants(meeting.plan)
        self.had = [stage]
        """The stage as it was from the start on, and behind every move."""
        partition = meeting.plan.scenario.deployment.partition
        self.moves = partition.trigger != "never" or bool(partition.schedule)
        """Whether blocks may ever move."""
        self.awaits: tuple[str, int] | None = None
        """For which blocks it waits, and for which rank; None while it does not."""
        self._given: list[simpy.Event] = []
        self._receivers: list[int] = []
        self._age = 0

    def settle(self, item: Item) -> Steps:
        """Follow *item*; wait until what was given has been taken, once it is old enough."""
        self.tenants.follow(item)
        self._age += 1
        if self._given and self._age > PATIENCE:
            yield from self.wait_taken()

    def wait_taken(self) -> Steps:
        """Wait until all that was given has been taken."""
        for receiver, taken in zip(self._receivers, self._given, strict=True):
            self.awaits = (f"rank {receiver} to take the blocks that move to it", receiver)
            yield taken
        self.awaits = None
        self._given.clear()
        self._receivers.clear()

    def move_to(self, counts: tuple[int, ...]) -> Generator[simpy.Event, Any, int | None]:
        """Give and get blocks until each rank holds as many as *counts* says.

        Returns the bytes received; None where this rank has no part in it.
        """
        if self.stage.vae_only:
            return None
        yield from self.wait_taken()
        rank, moves = self.stage.rank, moves_between(self.counts, counts)
        given = [move for move in moves if move.giver == rank]
        due = [move for move in moves if move.receiver == rank]
        for move in given:
            self._given.append(self._give(move.receiver))
            self._receivers.append(move.receiver)
        received = 0
        for move in due:
            received += yield from self._get(move.giver)
        self.counts, self._age = counts, 0
        self.stage = replace(self.stage, blocks=intervals(counts)[rank])
        self.had.append(self.stage)
        return received if given or due else None

    def _give(self, receiver: int) -> simpy.Event:
        taken = self.meeting.env.event()
        self.meeting.posted[self.stage.rank, receiver].put((self.tenants.block_bytes(), taken))
        return taken

    def _get(self, giver: int) -> Generator[simpy.Event, Any, int]:
        self.awaits = (f"blocks of rank {giver}", giver)
        size_bytes, taken = yield self.meeting.posted[giver, self.stage.rank].get()
        assert isinstance(size_bytes, int)
        seconds = self.times.move_s(size_bytes)
        pace = self.meeting.plan.scenario.trouble.pace_between(giver, self.stage.rank)
        if pace is not None:
            seconds = pace.takes_s(self.meeting.env.now, seconds)
        yield self.meeting.env.timeout(seconds)
        self.awaits = None
        taken.succeed()
        return size_bytes
