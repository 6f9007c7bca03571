"""How is a slip written in the integers of an item's header?

Two bytes for the blocks that each rank is to hold, counted from one because a rank may hold none;
zero where nothing moves. Then three numbers of four bytes, seconds, for what each rank measured. Both
together fill whole integers.
"""

from collections.abc import Sequence

import numpy as np

from streamtwin.core.section import MAX_RANKS
from streamtwin.core.slip import RankTimes, Slip

SLIP_LENGTH = 14 * MAX_RANKS // 8

UNKNOWN = -1.0
"""Stands for the times of a rank that the item has not passed."""


def slip_numbers(slip: Slip) -> list[int]:
    """The `SLIP_LENGTH` integers that stand for *slip*."""
    counts = np.zeros(MAX_RANKS, np.uint16)
    counts[: len(slip.partition)] = [1 + count for count in slip.partition]
    seconds = np.full((MAX_RANKS, 3), UNKNOWN, np.float32)
    for rank, own in enumerate(slip.times):
        seconds[rank] = own.dit_s, own.vae_s, own.hop_s
    numbers: list[int] = np.frombuffer(counts.tobytes() + seconds.tobytes(), np.int64).tolist()
    return numbers


def slip_from(numbers: Sequence[int]) -> Slip:
    """The slip that `slip_numbers` wrote."""
    written = np.asarray(numbers, np.int64).tobytes()
    counts = np.frombuffer(written, np.uint16, MAX_RANKS)
    seconds = np.frombuffer(written, np.float32, offset=counts.nbytes).reshape(MAX_RANKS, 3)
    known = seconds[seconds[:, 0] != UNKNOWN]
    return Slip(
        tuple(int(count) - 1 for count in counts if count),
        tuple(RankTimes(*(float(number) for number in own)) for own in known),
    )
