"""Which blocks does each stage hold?

Blocks are contiguous intervals in rank order, and every stage begins with at least one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import accumulate, cycle
from statistics import fmean


@dataclass(frozen=True, slots=True)
class StageCosts:
    """What a partition may be based on: times in seconds per micro-step.

    `block_s` is the time of each block of the model in order; `fixed_s` the time of each rank
    apart from its blocks (encode on the first, decode on the last, hop, launch). `slower` has
    the factor by which each rank takes longer for a block (empty: all alike), `held` the blocks
    that each rank holds now (empty: an even share), `room` the most that it can hold (empty: no
    limit).
    """

    block_s: tuple[float, ...]
    fixed_s: tuple[float, ...]
    slower: tuple[float, ...] = ()
    held: tuple[int, ...] = ()
    room: tuple[int, ...] = ()

    def saw(self) -> dict[str, float]:
        """The costs as numbers by name, for the record; `seen` reads them back."""
        return {
            f"{name}.{place}": number
            for name in _FIELDS
            for place, number in enumerate(getattr(self, name))
        }

    @classmethod
    def seen(cls, saw: Mapping[str, float]) -> "StageCosts":
        """The costs that a record of them stands for."""
        lists: dict[str, list[float]] = {name: [] for name in _FIELDS}
        for name in _FIELDS:
            while (number := saw.get(f"{name}.{len(lists[name])}")) is not None:
                lists[name].append(number)
        return cls(**{name: tuple(numbers) for name, numbers in lists.items()})  # type: ignore[arg-type]

    def stage_s(self, rank: int, part: range) -> float:
        """Seconds of *rank* when it holds the blocks *part*."""
        factor = self.slower[rank] if self.slower else 1.0
        return self.fixed_s[rank] + factor * sum(self.block_s[part.start : part.stop])

    def has_room(self, rank: int, count: int) -> bool:
        """Whether *rank* can hold *count* blocks."""
        return not self.room or count <= self.room[rank]

    def largest_s(self, counts: Sequence[int]) -> float:
        """Seconds of the slowest rank when each holds as many blocks as *counts* says."""
        return max(self.stage_s(rank, part) for rank, part in enumerate(intervals(counts)))


_FIELDS = tuple(field.name for field in fields(StageCosts))

PartitionPolicy = Callable[[StageCosts], tuple[range, ...]]


def even(costs: StageCosts) -> tuple[range, ...]:
    """Spread the blocks evenly, the first ranks taking the remainder (the reference's start)."""
    return intervals(even_counts(len(costs.block_s), len(costs.fixed_s)))


def sdv2_once(costs: StageCosts) -> tuple[range, ...]:
    """Begin evenly; once times are known, `reference_rule` moves blocks, one single time."""
    return even(costs)


def greedy(costs: StageCosts) -> tuple[range, ...]:
    """Move one block from the slowest rank to a neighbour, for as long as the pair gains by it."""
    counts = list(costs.held or even_counts(len(costs.block_s), len(costs.fixed_s)))
    while (better := _one_block_moved(costs, counts)) is not None:
        counts = better
    return intervals(counts)


def optimal(costs: StageCosts) -> tuple[range, ...]:
    """Minimise the largest stage exactly, whatever each block costs; ties go to early ranks.

    Ranks whose room is together too small for the blocks hold more than they have room for.
    """
    ranks, blocks = len(costs.fixed_s), len(costs.block_s)

    @cache
    def best(rank: int, start: int) -> tuple[int, float, tuple[int, ...]]:
        if rank == ranks - 1:
            return _extend((0, 0.0, ()), costs, rank, start, blocks - start)
        return min(
            _extend(best(rank + 1, start + count), costs, rank, start, count)
            for count in range(1, blocks - start - (ranks - rank - 1) + 1)
        )

    return intervals(best(0, 0)[2])


def _extend(
    tail: tuple[int, float, tuple[int, ...]], costs: StageCosts, rank: int, start: int, count: int
) -> tuple[int, float, tuple[int, ...]]:
    """*tail*, the ranks behind, with *rank* before: overfull ranks, slowest seconds, counts."""
    own = costs.stage_s(rank, range(start, start + count))
    overfull = tail[0] + (not costs.has_room(rank, count))
    return overfull, max(own, tail[1]), (count, *tail[2])


def _one_block_moved(costs: StageCosts, counts: list[int]) -> list[int] | None:
    """*counts* with one block less on the slowest rank; None when no neighbour can take it.

    Of two neighbours the one takes it with whom the pair's slower half becomes fastest. The sum
    of the squared times falls with every such step, so the steps end.
    """
    parts = intervals(counts)
    times = [costs.stage_s(rank, part) for rank, part in enumerate(parts)]
    slowest = max(range(len(times)), key=times.__getitem__)
    if counts[slowest] == 1:
        return None
    found = []
    for other in (slowest - 1, slowest + 1):
        if 0 <= other < len(counts) and costs.has_room(other, counts[other] + 1):
            moved = list(counts)
            moved[slowest] -= 1
            moved[other] += 1
            after = intervals(moved)
            pair_s = max(costs.stage_s(rank, after[rank]) for rank in (slowest, other))
            found.append((pair_s, moved))
    pair_s, moved = min(found, default=(times[slowest], counts))
    return moved if pair_s < times[slowest] else None


def reference_rule(
    counts: Sequence[int], dit_s: Sequence[float], total_s: Sequence[float], least: int = 1
) -> tuple[int, ...]:
    """How many blocks each rank holds after the block scheduler of StreamDiffusionV2 has run.

    *dit_s* and *total_s* are the least seconds that each rank has needed for its blocks, and for
    all it does. A rank gives up as many blocks as it is slower than the mean, counted in blocks
    of the fleet's average time c = sum(dit_s) / L: n + (mean - total) / c, at *least* 1 in the
    public code; the 4/13/13/0 blocks of the paper's figure (arXiv 2511.07399v1, block scheduler)
    follow with 0. Where the rounded counts miss L, single blocks are added to the smallest or
    taken from the largest ranks in turn.
    """
    blocks = sum(counts)
    block_s, mean_s = sum(dit_s) / blocks, fmean(total_s)
    wanted = [
        max(least, round(count + (mean_s - own_s) / block_s))
        for count, own_s in zip(counts, total_s, strict=True)
    ]
    missing = blocks - sum(wanted)
    step = 1 if missing > 0 else -1
    in_turn = cycle(sorted(range(len(wanted)), key=lambda rank: step * wanted[rank]))
    while missing:
        rank = next(in_turn)
        if wanted[rank] + step >= least:
            wanted[rank] += step
            missing -= step
    return tuple(wanted)


def even_counts(blocks: int, ranks: int) -> list[int]:
    """*blocks* spread over *ranks*, the first ranks taking the remainder."""
    base, rest = divmod(blocks, ranks)
    return [base + (rank < rest) for rank in range(ranks)]


def intervals(counts: Sequence[int]) -> tuple[range, ...]:
    """The interval of blocks of each rank, given how many each holds."""
    ends = tuple(accumulate(counts))
    return tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True))


PARTITION: dict[str, PartitionPolicy] = {
    "even": even,
    "optimal": optimal,
    "greedy": greedy,
    "sdv2_once": sdv2_once,
}

WEIGHS_NOTHING: frozenset[str] = frozenset({"even", "sdv2_once"})
"""Policies that look at counts only, for which no time has to be predicted."""
