"""When do blocks move between ranks? Rank 0's book of measurements, and its decisions.

Both executors drive this object: they hand it what came back with an item, and ask it at every
item boundary which partition holds behind the item. It knows no clock and no tensor.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from streamtwin.core.measured import Measured
from streamtwin.core.moved import counts_text
from streamtwin.core.moves import Tenants, moves_between, reach
from streamtwin.core.plan import Plan
from streamtwin.core.policies.rebalance import Counts, Hysteresis, decide
from streamtwin.core.records import Decision
from streamtwin.core.ring import Item
from streamtwin.core.slip import NOTHING, RankTimes, Slip
from streamtwin.core.stages import of_every_rank


@dataclass(slots=True)
class Scheduler:
    """The block scheduler of one run. Its counts are of the ranks that hold blocks, in order.

    At most one move is under way: the next is decided once the item that announced the last has
    come back, when every rank has computed it.
    """

    plan: Plan
    decide: Callable[[Decision], None]
    counts: Counts = field(init=False)
    measured: Measured = field(init=False)
    tenants: Tenants = field(init=False)
    watches: bool = field(init=False)
    """Whether a policy will be asked, so that what the ranks measure matters."""
    _announced: int | None = field(init=False, default=None)
    _far: bool = field(init=False, default=False)
    _moved_s: list[float] = field(init=False, default_factory=list)
    _next_look: int = field(init=False)
    _planned: list[tuple[int, Counts]] = field(init=False)

    def __post_init__(self) -> None:
        partition = self.plan.scenario.deployment.partition
        self.counts = tuple(len(stage.blocks) for stage in self.plan.stages if not stage.vae_only)
        self.measured = Measured(
            self.counts, _window(self.plan), not self.plan.scenario.deployment.dedicated
        )
        self.tenants = Tenants(self.plan)
        self._planned = [
            (item, tuple(counts)) for item, counts in sorted(partition.schedule.items())
        ]
        after = partition.after_items
        self._next_look = first_look(self.plan) if after is None else after
        self.watches = partition.trigger != "never"

    def observe(self, item: Item, times: tuple[RankTimes, ...]) -> None:
        """Take in what the ranks measured on *item*, which has come back."""
        if self._announced is not None and item.index >= self._announced:
            self._announced = None
        if self.watches and len(times) == self.plan.lanes:
            first = self.plan.scenario.deployment.dedicated
            self.measured.add(item, times[first:], self._byte_s(item, times))

    def behind(self, item: Item, now_s: float) -> Slip:
        """The slip that *item* sets out with: which partition holds behind it, if another."""
        if not (self.watches or self._planned):
            return NOTHING
        self.tenants.follow(item)
        if len(self.counts) == 1 or self._announced is not None:
            return Slip()
        chosen = self._scheduled(item, now_s) or self._weighed(item, now_s) or self.counts
        if chosen == self.counts:
            return Slip()
        self._far = reach(moves_between(self.counts, chosen)) > 1
        self.counts, self._announced = chosen, item.index
        self._moved_s.append(now_s)
        self.measured.moved(chosen, item.index)
        return Slip(partition=of_every_rank(chosen, self.plan.scenario.deployment))

    def far(self, item: Item) -> bool:
        """Whether blocks move behind *item* between ranks that are no neighbours.

        Such a rank may get as far as this item only once rank 0 has taken back older results;
        rank 0 does so before it waits for blocks itself.
        """
        return self._far and self._announced == item.index

    def _byte_s(self, item: Item, times: tuple[RankTimes, ...]) -> float:
        """Seconds that a byte took on the links that carry activations: the others carry little.

        Where receives are posted ahead, most ranks find their item there when they ask for it, and
        then only know that it took no longer: the shortest time is the nearest to the truth.
        """
        edges = [(rank, self.plan.inward(rank)) for rank in range(self.plan.lanes)]
        rates = [
            times[rank].hop_s / self.plan.hop(item, edge).size_bytes
            for rank, edge in edges
            if edge is not None and edge.activations
        ]
        hides = self.plan.scenario.deployment.overlaps
        return (min if hides else max)(rates, default=0.0)

    def _scheduled(self, item: Item, now_s: float) -> Counts | None:
        """The next partition of the scenario's list, if its item has come."""
        if not self._planned or item.index < self._planned[0][0]:
            return None
        _, chosen = self._planned.pop(0)
        saw = {f"blocks.{rank}": float(count) for rank, count in enumerate(self.counts)}
        self._record(now_s, "schedule", item, saw, chosen)
        return chosen

    def _weighed(self, item: Item, now_s: float) -> Counts | None:
        """What the policy decides, if it is time to ask it and enough has been measured."""
        deployment = self.plan.scenario.deployment
        partition = deployment.partition
        once = partition.trigger == "once"
        if partition.trigger == "never" or item.index < self._next_look:
            return None
        if not (self.measured.whole if once else self.measured.enough):
            return None
        hysteresis = Hysteresis(partition.horizon_s, partition.factor, partition.margin)
        self._moved_s = [at_s for at_s in self._moved_s if now_s - at_s < hysteresis.horizon_s]
        measured = self.measured.view(self.tenants.block_bytes(), len(self._moved_s))
        # a transfer that hides behind a pass costs the rank nothing
        hop_s = (0.0,) * len(self.counts) if deployment.overlaps else measured.hop_s
        view = replace(measured, room=self.plan.room, hop_s=hop_s, least=partition.least_blocks)
        chosen = decide(partition.policy, view, None if once else hysteresis)
        self._next_look = NEVER if once else item.index + partition.every_items
        self._record(now_s, partition.policy, item, view.saw(), chosen)
        return chosen

    def _record(
        self, now_s: float, policy: str, item: Item, saw: dict[str, float], chosen: Counts
    ) -> None:
        about, everybody = (0, item.index), of_every_rank(chosen, self.plan.scenario.deployment)
        self.decide(
            Decision(now_s, 0, "rebalance", policy, *about, saw=saw, chose=counts_text(everybody))
        )


NEVER = 2**62
"""Number of an item that never comes."""

WINDOW_ITEMS = 8
"""Items that a typical time is the median of, at least."""


def first_look(plan: Plan) -> int:
    """Item behind which the policy is asked first, unless the scenario says.

    Once: number 2 (W + N + 1), as in the reference, whose items are counted behind the first chunk:
    here its N turns are items too. Continuously: when a window has been seen since every lane has
    gone round its N steps, before which the last rank decodes nothing.
    """
    if plan.scenario.deployment.partition.trigger == "once":
        return 2 * (plan.lanes + plan.steps + 1) + plan.steps
    return plan.lanes * (plan.steps + 1) + _window(plan)


def _window(plan: Plan) -> int:
    """Items to judge by: whole cycles of the lanes, so that each service is seen in its share.

    In a stream batch every turn encodes and decodes a chunk; without, each lane does so in one
    of N turns.
    """
    cycle = 1 if plan.scenario.deployment.stream_batch else plan.lanes * plan.steps
    return cycle * -(-WINDOW_ITEMS // cycle)
