"""Which blocks does each stage hold?

Blocks are contiguous intervals in rank order, and every stage holds at least one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class StageCosts:
    """What a partition may be based on: times in seconds per micro-step.

    `block_s` is the time of each block of the model in order; `fixed_s` the time of each rank
    apart from its blocks (encode on the first, decode on the last, hop, launch).
    """

    block_s: tuple[float, ...]
    fixed_s: tuple[float, ...]


PartitionPolicy = Callable[[StageCosts], tuple[range, ...]]


def even(costs: StageCosts) -> tuple[range, ...]:
    """Spread the blocks evenly, the first ranks taking the remainder (the reference's start)."""
    base, rest = divmod(len(costs.block_s), len(costs.fixed_s))
    counts = [base + (rank < rest) for rank in range(len(costs.fixed_s))]
    return _intervals(counts)


def optimal(costs: StageCosts) -> tuple[range, ...]:
    """Minimise the largest stage exactly, whatever each block costs; ties go to early ranks."""
    ranks, blocks = len(costs.fixed_s), len(costs.block_s)

    @cache
    def best(rank: int, start: int) -> tuple[float, tuple[int, ...]]:
        if rank == ranks - 1:
            return costs.fixed_s[rank] + sum(costs.block_s[start:]), (blocks - start,)
        return min(
            _extend(best(rank + 1, start + count), costs, rank, start, count)
            for count in range(1, blocks - start - (ranks - rank - 1) + 1)
        )

    return _intervals(best(0, 0)[1])


def _extend(
    tail: tuple[float, tuple[int, ...]], costs: StageCosts, rank: int, start: int, count: int
) -> tuple[float, tuple[int, ...]]:
    own = costs.fixed_s[rank] + sum(costs.block_s[start : start + count])
    return max(own, tail[0]), (count, *tail[1])


def _intervals(counts: list[int] | tuple[int, ...]) -> tuple[range, ...]:
    starts = [sum(counts[:rank]) for rank in range(len(counts))]
    return tuple(range(start, start + count) for start, count in zip(starts, counts, strict=True))


PARTITION: dict[str, PartitionPolicy] = {"even": even, "optimal": optimal}

WEIGHS_NOTHING: frozenset[str] = frozenset({"even"})
"""Policies that look at counts only, for which no time has to be predicted."""
