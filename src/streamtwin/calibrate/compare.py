"""How far are the times of now from those of then, and is that more than chance?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, hypot, log, sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

from streamtwin.calibrate.grid import resolution_text
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.observed import Observed, observe
from streamtwin.calibrate.samples import group_of
from streamtwin.calibrate.schedule import Start
from streamtwin.calibrate.variance import PRIOR_DEGREES, PRIOR_REL_STD, spread
from streamtwin.core.ops import family_of

LEVEL, Z = 0.95, 1.96
"""Share of chance that an interval holds, and standard errors on either side of it."""

SMALL = 0.05
"""A ratio this near to 1 holds whatever the times scatter: predictions are not more exact."""

LOOSE = 0.15
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
            runs = _runs_half_width([one for one in before.values() if group_of(one.case) == group])
            half, middle = hypot(Z * within**0.5, runs), fmean(logs)
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
                    low=exp(middle - half),
                    high=exp(middle + half),
                )
            )
    return tuple(verdicts)


def _error(times: Sequence[float]) -> float:
    """Relative standard error of the mean of *times*."""
    spread_s = stdev(times) if len(times) > 1 else PRIOR_REL_STD * times[0]
    return float(spread_s / fmean(times) / sqrt(len(times)))


def _runs_half_width(observed: Sequence[Observed]) -> float:
    """What the run of now may differ by from the mean of the stored ones, by Student's t.

    With a single stored run nobody has compared any: what is taken for granted stands alone.
    """
    known = spread([one.scatter for one in observed])
    between, degrees = (
        known.another_run if known.between_degrees else (PRIOR_REL_STD, PRIOR_DEGREES)
    )
    student = float(stdtrit(degrees, 0.5 + LEVEL / 2))
    return student * between * sqrt(1 + 1 / (known.between_degrees + 1))
