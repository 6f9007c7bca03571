"""How long does work take on something that is slower for a while?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Slow:
    """From `from_s` until `until_s` everything takes `factor` times as long."""

    from_s: float
    until_s: float
    factor: float


class Pace:
    """What cards that work together, or one link, make of work, given when each is slow.

    Where several slow times of one card overlap, their factors multiply; of several cards the
    slowest at each moment holds all up.
    """

    def __init__(self, *slow: Sequence[Slow]) -> None:
        every = [one for card in slow for one in card]
        edges = sorted({0.0, *(one.from_s for one in every), *(one.until_s for one in every)})
        ends = [*edges[1:], inf]
        self._pieces = [
            (end, max((_factor(card, start) for card in slow), default=1.0))
            for start, end in zip(edges, ends, strict=True)
            if start < inf
        ]

    def takes_s(self, began_s: float, work_s: float) -> float:
        """Seconds that *work_s* seconds of undisturbed work take when they begin at *began_s*."""
        now_s, left_s = began_s, work_s
        for end_s, factor in self._pieces:
            if end_s <= now_s:
                continue
            if left_s * factor <= end_s - now_s:
                # at its own pace work takes what it takes, to the last bit
                undisturbed = factor == 1 and now_s == began_s
                return left_s if undisturbed else now_s - began_s + left_s * factor
            left_s -= (end_s - now_s) / factor
            now_s = end_s
        raise AssertionError("the last piece has no end")


def _factor(slow: Sequence[Slow], at_s: float) -> float:
    product = 1.0
    for one in slow:
        if one.from_s <= at_s < one.until_s:
            product *= one.factor
    return product
