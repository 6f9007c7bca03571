"""How much do times scatter within one start of a process, and how much do runs differ?

One-way random effects, y = m (1 + run + rest): for each configuration the mean square within its
starts, and the variance of the runs' means less what the scatter within gives it (method of
moments with unweighted means; Searle, Casella and McCulloch 1992, Variance Components, chapters 3
and 4). Configurations count alike: they are stopped at different numbers of times. The ranks of a
run shared the minute and the state of the host, so they are averaged and count once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

Start = tuple[int, int]
"""Run and rank: one start of one process."""

Starts = Mapping[Start, Sequence[float]]
"""Times of one configuration, by the start of a process that they come from."""

PRIOR_REL_STD, PRIOR_DEGREES = 0.04, 3
"""What runs are taken to differ by before any was compared, and how many degrees of freedom that
counts for. An assumption: runs of the smallest model on two cores of a virtual machine differed by
3 % within an hour and by up to 29 % between hours, of which the prior's wide tail knows. Two or
three runs alone say almost nothing of their own variance, and often that there is none."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Relative standard deviations, with the degrees of freedom of each; None: unknown.

    Configurations of one run share its memory and its host, so `between_degrees` counts runs, not
    runs times configurations.
    """

    within_rel_std: float | None = None
    within_degrees: int = 0
    between_rel_std: float | None = None
    between_degrees: int = 0

    @property
    def another_run(self) -> tuple[float, int]:
        """What another run may differ by, with its degrees of freedom; (0, 0): nothing is known.

        The variance seen, pooled with that taken for granted by degrees of freedom.
        """
        if self.between_rel_std is None:
            return 0.0, 0
        degrees = self.between_degrees + PRIOR_DEGREES
        squares = self.between_degrees * self.between_rel_std**2 + PRIOR_DEGREES * PRIOR_REL_STD**2
        return sqrt(squares / degrees), degrees


UNKNOWN = Spread()


def spread(configurations: Sequence[Starts]) -> Spread:
    """Pool the *configurations* of one fit; with a single run nothing is known of other runs."""
    usable = [each for starts in configurations if (each := _relative(starts))]
    if not usable:
        return Spread()
    within = sqrt(fmean(_within(starts) for starts in usable))
    degrees = sum(len(times) - 1 for starts in usable for times in starts.values())
    several = [starts for starts in usable if len(_runs(starts)) > 1]
    if not several:
        return Spread(within, degrees)
    between = sqrt(max(0.0, fmean(_between(starts) for starts in several)))
    return Spread(within, degrees, between, max(len(_runs(starts)) for starts in several) - 1)


def _runs(starts: Starts) -> list[int]:
    return sorted({run for run, _ in starts})


def _relative(starts: Starts) -> dict[Start, list[float]]:
    """Times as shares of the configuration's mean over starts; starts of one time say nothing."""
    kept = {start: list(times) for start, times in starts.items() if len(times) > 1}
    if not kept:
        return {}
    typical_s = fmean(fmean(times) for times in kept.values())
    return {start: [time / typical_s for time in times] for start, times in kept.items()}


def _within(starts: Starts) -> float:
    """Mean square within starts."""
    squares = sum(variance(times) * (len(times) - 1) for times in starts.values())
    return squares / sum(len(times) - 1 for times in starts.values())


def _between(starts: Starts) -> float:
    """Variance of the runs' means without what scatter within adds; may be negative."""
    means, added = list[float](), list[float]()
    for run in _runs(starts):
        ranks = [times for (own, _), times in starts.items() if own == run]
        means.append(fmean(fmean(times) for times in ranks))
        added.append(sum(1 / len(times) for times in ranks) / len(ranks) ** 2)
    return variance(means) - _within(starts) * fmean(added)
