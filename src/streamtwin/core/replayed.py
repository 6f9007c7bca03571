"""How long does work take on a host whose own pace changes, as it did while it was measured?

A shared host is slow for moments that hit whatever runs in them, one service after the other and all
ranks at once. Drawing every service by itself loses that: the services of a chunk then make up for one
another, and the tail of latency is too short. So what was recorded is played again from an instant drawn
for each run, and from its beginning when it ends (the circular block bootstrap of a time series:
Politis and Romano 1992, with one block a run).
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from math import floor


@dataclass(frozen=True, slots=True)
class PaceTrace:
    """How many times as long as on average all work of a rank took, one `step_s` after the other.

    `factors` are positive.
    """

    step_s: float
    factors: tuple[float, ...]
    _ends_work_s: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert self.step_s > 0, self.step_s
        assert self.factors, "a trace without steps"
        assert min(self.factors) > 0, min(self.factors)
        done_s = accumulate(self.step_s / factor for factor in self.factors)
        object.__setattr__(self, "_ends_work_s", tuple(done_s))

    @property
    def length_s(self) -> float:
        """Seconds until it begins again."""
        return self.step_s * len(self.factors)

    def work_until(self, at_s: float) -> float:
        """Seconds of work of average pace that are done from 0 to *at_s*."""
        rounds = floor(at_s / self.length_s)
        within_s = at_s - rounds * self.length_s
        step = min(int(within_s / self.step_s), len(self.factors) - 1)
        before_s = self._ends_work_s[step - 1] if step else 0.0
        done_s = before_s + (within_s - step * self.step_s) / self.factors[step]
        return rounds * self._ends_work_s[-1] + done_s

    def instant_of(self, work_s: float) -> float:
        """When *work_s* seconds of work of average pace are done: the inverse of `work_until`."""
        rounds = floor(work_s / self._ends_work_s[-1])
        left_s = work_s - rounds * self._ends_work_s[-1]
        step = min(bisect_right(self._ends_work_s, left_s), len(self.factors) - 1)
        before_s = self._ends_work_s[step - 1] if step else 0.0
        within_s = step * self.step_s + (left_s - before_s) * self.factors[step]
        return rounds * self.length_s + within_s


class Replayed:
    """What *trace*, played from *offset_s* on, makes of work; see `core.pace.Pace`."""

    def __init__(self, trace: PaceTrace, offset_s: float) -> None:
        self.trace, self.offset_s = trace, offset_s

    def takes_s(self, began_s: float, work_s: float) -> float:
        """Seconds that *work_s* seconds of work of average pace take when they begin at *began_s*."""
        begins_s = self.offset_s + began_s
        done_s = self.trace.work_until(begins_s) + work_s
        return max(0.0, self.trace.instant_of(done_s) - begins_s)
