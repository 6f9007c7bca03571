"""Which blocks change hands between two partitions, and how many bytes go with each?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from streamtwin.core.plan import Plan
from streamtwin.core.policies.partition import intervals
from streamtwin.core.ring import Item


@dataclass(frozen=True, slots=True)
class Move:
    """Block number *block* goes from one rank to another."""

    block: int
    giver: int
    receiver: int


def moves_between(before: Sequence[int], after: Sequence[int]) -> tuple[Move, ...]:
    """The moves that make the partition *after* out of *before*, in the order of the blocks."""
    return tuple(
        Move(block, giver, receiver)
        for block, (giver, receiver) in enumerate(zip(_owners(before), _owners(after), strict=True))
        if giver != receiver
    )


def reach(moves: Iterable[Move]) -> int:
    """How many ranks apart the farthest giver and receiver are; 0 without moves."""
    return max((abs(move.receiver - move.giver) for move in moves), default=0)


def _owners(counts: Sequence[int]) -> list[int]:
    return [rank for rank, part in enumerate(intervals(counts)) for _ in part]


@dataclass(slots=True)
class Tenants:
    """Which sessions have state on a rank, and under which prompts, behind each item."""

    plan: Plan
    prompts: dict[int, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scenario = self.plan.scenario
        for session in range(scenario.workload.sessions):
            if scenario.there_at_start(session):
                self.prompts[session] = {scenario.prompt_of(session, 0)}

    def follow(self, item: Item) -> None:
        """Note that the rank has computed *item*."""
        scenario = self.plan.scenario
        for row in item.rows:
            used = self.prompts.setdefault(row.session, {scenario.prompt_of(row.session, 0)})
            used.add(scenario.prompt_of(row.session, row.chunk))
            if len(used) > 1 and row.step == self.plan.steps - 1:
                used &= scenario.prompts_after(row.session, row.chunk)
        for session in item.leaving:
            self.prompts.pop(session, None)

    def block_bytes(self) -> int:
        """Bytes of one block with all that the sessions keep for it."""
        texts = sum(len(used) for used in self.prompts.values())
        return block_bytes(self.plan, len(self.prompts), texts)


def block_bytes(plan: Plan, sessions: int, texts: int) -> int:
    """Bytes of a block: weights, K and V of every step of *sessions*, and those of *texts*.

    Where every rank holds all weights, they stay behind.
    """
    deployment, model, size = plan.scenario.deployment, plan.model, plan.itemsize
    kv = plan.steps * model.kv_bytes(deployment.window, plan.scenario.size.tokens, size)
    weights = 0 if deployment.weights == "replicated" else model.block_parameters * size
    return weights + sessions * kv + texts * model.cross_kv_bytes(size)
