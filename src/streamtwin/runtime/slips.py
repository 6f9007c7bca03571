"""How is a slip written in the integers of an item's header?

The blocks of each rank to be, zeros where nothing moves, then nanoseconds in three columns.
"""

from collections.abc import Sequence

from streamtwin.core.scenario import MAX_RANKS
from streamtwin.core.slip import RankTimes, Slip

SLIP_LENGTH = 4 * MAX_RANKS

UNKNOWN = -1
"""Stands for the times of a rank that the item has not passed."""


def slip_numbers(slip: Slip) -> list[int]:
    """The `SLIP_LENGTH` integers that stand for *slip*."""
    times = [(own.dit_s, own.vae_s, own.hop_s) for own in slip.times]
    columns = zip(*times, strict=True) if times else [(), (), ()]
    spent_ns = [[round(seconds * 1e9) for seconds in column] for column in columns]
    return [
        number
        for column, missing in ((list(slip.partition), 0), *((ns, UNKNOWN) for ns in spent_ns))
        for number in (*column, *[missing] * (MAX_RANKS - len(column)))
    ]


def slip_from(numbers: Sequence[int]) -> Slip:
    """The slip that `slip_numbers` wrote."""
    partition, *columns = (
        numbers[start : start + MAX_RANKS] for start in range(0, SLIP_LENGTH, MAX_RANKS)
    )
    times = tuple(
        RankTimes(*(ns * 1e-9 for ns in own))
        for own in zip(*columns, strict=True)
        if UNKNOWN not in own
    )
    return Slip(tuple(count for count in partition if count), times)
