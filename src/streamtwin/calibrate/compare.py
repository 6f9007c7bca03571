"""How far are the times of now from those of then, and is that more than chance?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean, stdev

from streamtwin.calibrate.forms import family_of
from streamtwin.calibrate.grid import resolution_text
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.samples import group_of
from streamtwin.calibrate.schedule import Start

BETWEEN = 0.05
"""Relative scatter of the typical times of starts that lie minutes or days apart, at the least. An
assumption: starts of the smallest model on two cores of a virtual machine differed by 3 % in one
hour and by 15 % in another; starts of one calibration follow each other and differ by less."""

Z = 1.96
"""Standard errors on either side of an interval of 95 %."""

SMALL = 0.05
"""A ratio this near to 1 holds whatever the times scatter: predictions are not more exact."""

LOOSE = 0.2
"""Half an interval wider than that tells neither that a part holds nor that it does not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One part: the mean ratio of now to then over its cases, with its 95 % interval."""

    part: str
    family: str
    subject: str
    resolution: str
    ranks: int
    cases: int
    stored_s: float
    now_s: float
    """Sums over the cases of what was stored and what was measured now."""
    ratio: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the interval has room for no change, or what is surely there is small."""
        nearest = max(self.low, min(1.0, self.high))
        return abs(log(nearest)) <= SMALL

    @property
    def words(self) -> str:
        """The verdict; an interval that has room for much says little, and says so."""
        if not self.holds:
            return "DOES NOT HOLD"
        return "holds" if log(self.high / self.low) / 2 <= LOOSE else "cannot tell"


def compare(
    stored: Sequence[Measurement], now: Sequence[Measurement], starts: Iterable[Start]
) -> tuple[Verdict, ...]:
    """A verdict for each fit of each start, from all times of then and of now."""
    before = {one.case: one for one in observe(stored)}
    after = {one.case: one for one in observe(now)}
    verdicts = []
    for start in starts:
        for group in dict.fromkeys(map(group_of, start.cases)):
            cases = [case for case in start.cases if group_of(case) == group]
            pairs = [(before[case].typical_s, after[case].typical_s) for case in cases]
            logs = [log(after_s / before_s) for before_s, after_s in pairs]
            within = (
                sum(_error(one.clean) ** 2 for c in cases for one in (before[c], after[c]))
                / len(cases) ** 2
            )
            between, runs = between_starts([one for one in stored if group_of(one.case) == group])
            error = (within + between**2 * (1 + 1 / runs)) ** 0.5
            middle = fmean(logs)
            verdicts.append(
                Verdict(
                    part=start.part.label,
                    family=family_of(cases[0].op),
                    subject=group[1],
                    resolution=resolution_text(start.part.request.resolution),
                    ranks=start.part.ranks,
                    cases=len(cases),
                    stored_s=sum(pair[0] for pair in pairs),
                    now_s=sum(pair[1] for pair in pairs),
                    ratio=exp(middle),
                    low=exp(middle - Z * error),
                    high=exp(middle + Z * error),
                )
            )
    return tuple(verdicts)


def _error(times: Sequence[float]) -> float:
    """Relative standard error of the mean of *times*."""
    return stdev(times) / fmean(times) / len(times) ** 0.5 if len(times) > 1 else BETWEEN


def between_starts(measurements: Sequence[Measurement]) -> tuple[float, int]:
    """How far typical times of a fit differ from start to start, and how many starts there were.

    The relative scatter of the starts' mean over the cases that all of them have; a part of it is
    scatter within starts, so it is rather too large. At the least, and with one start, BETWEEN.
    """
    runs = sorted({one.run for one in measurements})
    typical = {
        run: {o.case: log(o.typical_s) for o in observe(m for m in measurements if m.run == run)}
        for run in runs
    }
    shared = set.intersection(*(set(cases) for cases in typical.values()))
    if len(runs) < 2 or not shared:
        return BETWEEN, 1
    means = [fmean(cases[case] for case in shared) for cases in typical.values()]
    return max(stdev(means), BETWEEN), len(runs)
