"""How is a time taken that others on the same cores disturb?"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

import numpy as np


def seconds(work: Callable[[], object]) -> float:
    """Seconds that *work* takes once."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Taken:
    """Times of the same work, taken again and again."""

    times_s: Sequence[float]

    @property
    def median_s(self) -> float:
        """The middle one."""
        return median(self.times_s)

    def __str__(self) -> str:
        low, high = min(self.times_s), max(self.times_s)
        return f"{self.median_s:.2f} s (of {len(self.times_s)}: {low:.2f} to {high:.2f})"


def in_turn(rounds: int, *works: Callable[[], object]) -> list[Taken]:
    """Times of *works*, taken in turn, so that all meet the same disturbances."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [Taken(column) for column in zip(*times, strict=True)]


def exponent(sizes: Sequence[float], times_s: Sequence[float]) -> float:
    """b of the power law time = a size^b that fits best; 1 is linear."""
    slope, _ = np.polyfit([log(size) for size in sizes], [log(one) for one in times_s], 1)
    return float(slope)
