"""How did the partition change in a run, as its records tell it?"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from streamtwin.core.policies.partition import intervals
from streamtwin.core.records import Decision, RankInfo, Records


def counts_text(counts: Iterable[int]) -> str:
    """A partition as it is recorded: `22/8`."""
    return "/".join(str(count) for count in counts)


def counts_of(decision: Decision) -> list[int]:
    """Blocks of each rank, as *decision* chose them."""
    return [int(count) for count in str(decision.chose).split("/")]


def ranks_of_a_copy(records: Records) -> int:
    """Ranks of one pipeline of those that *records* are of."""
    copies = int(records.info.scenario.get("deployment", {}).get("replicas", 1))
    return max(1, len(records.info.ranks) // copies)


def moves_made(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that changed the partition, in order of time."""
    made, held = list[Decision](), dict[int, str | float]()
    for decision in decisions:
        # of several copies each has a leader, which decides for it
        if decision.family == "partition":
            held[decision.rank] = decision.chose
        elif decision.family == "rebalance" and decision.chose != held.get(decision.rank):
            held[decision.rank] = decision.chose
            made.append(decision)
    return made


def blocks_at_end(records: Records, info: RankInfo) -> list[int]:
    """First block, and the one behind the last, that a rank held when the run ended."""
    width = ranks_of_a_copy(records)
    leader = info.rank // width * width
    made = [move for move in moves_made(records.decisions) if move.rank == leader]
    if not made:
        return list(info.blocks)
    held = intervals(counts_of(made[-1]))[info.rank - leader]
    return [held.start, held.stop] if held or info.blocks[0] < info.blocks[1] else [0, 0]


def moves_figures(records: Records) -> list[dict[str, Any]]:
    """Each move: when it was decided, by which policy, behind which item, to what, and bytes."""
    size_bytes: Counter[tuple[int, int]] = Counter()
    width = ranks_of_a_copy(records)
    for span in records.spans:
        if span.kind == "move":
            size_bytes[span.rank // width * width, span.item] += span.size_bytes
    return [
        {
            "time_s": made.time_s,
            "policy": made.policy,
            "item": made.chunk,
            "blocks": counts_of(made),
            "size_bytes": size_bytes[made.rank, made.chunk],
        }
        for made in moves_made(records.decisions)
    ]
