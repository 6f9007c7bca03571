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


def moves_made(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that changed the partition, in order of time."""
    made, held = [], None
    for decision in decisions:
        if decision.family == "partition":
            held = decision.chose
        elif decision.family == "rebalance" and decision.chose != held:
            held = decision.chose
            made.append(decision)
    return made


def blocks_at_end(records: Records, info: RankInfo) -> list[int]:
    """First block, and the one behind the last, that a rank held when the run ended."""
    made = moves_made(records.decisions)
    if not made:
        return list(info.blocks)
    held = intervals(counts_of(made[-1]))[info.rank]
    return [held.start, held.stop] if held or info.blocks[0] < info.blocks[1] else [0, 0]


def moves_figures(records: Records) -> list[dict[str, Any]]:
    """Each move: when it was decided, by which policy, behind which item, to what, and bytes."""
    size_bytes: Counter[int] = Counter()
    for span in records.spans:
        if span.kind == "move":
            size_bytes[span.item] += span.size_bytes
    return [
        {
            "time_s": made.time_s,
            "policy": made.policy,
            "item": made.chunk,
            "blocks": counts_of(made),
            "size_bytes": size_bytes[made.chunk],
        }
        for made in moves_made(records.decisions)
    ]
