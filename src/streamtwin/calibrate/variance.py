"""How much do times scatter within one start of a process, and how much do starts differ?

One-way random effects, y = m (1 + start + rest): for each configuration the mean square within
its starts, and the variance of the starts' means less what the scatter within gives it (method of
moments with unweighted means; Searle, Casella and McCulloch 1992, Variance Components, chapters 3
and 4). Configurations count alike: they are stopped at different numbers of times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

Starts = Sequence[Sequence[float]]
"""Times of one configuration, by the start of a process that they come from."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Relative standard deviations, with the degrees of freedom of each; None: unknown.

    Configurations of one start share its memory and its host, so `between_degrees` counts starts,
    not starts times configurations.
    """

    within_rel_std: float | None = None
    within_degrees: int = 0
    between_rel_std: float | None = None
    between_degrees: int = 0


UNKNOWN = Spread()


def spread(configurations: Sequence[Starts], runs: int) -> Spread:
    """Pool the *configurations* of one fit, whose times come from *runs* starts of the host's ranks.

    With a single run nothing is known of what differs between runs: the ranks in it shared the
    minute and the state of the host.
    """
    usable = [_relative(starts) for starts in configurations]
    usable = [starts for starts in usable if starts]
    if not usable:
        return Spread()
    within = sqrt(fmean(_within(starts) for starts in usable))
    degrees = sum(len(times) - 1 for starts in usable for times in starts)
    several = [starts for starts in usable if len(starts) > 1]
    if runs < 2 or not several:
        return Spread(within, degrees)
    between = sqrt(max(0.0, fmean(_between(starts) for starts in several)))
    return Spread(within, degrees, between, max(len(starts) for starts in several) - 1)


def _relative(starts: Starts) -> list[list[float]]:
    """Times as shares of the configuration's mean over starts; starts of one time say nothing."""
    kept = [list(times) for times in starts if len(times) > 1]
    if not kept:
        return []
    typical_s = fmean(fmean(times) for times in kept)
    return [[time / typical_s for time in times] for times in kept]


def _within(starts: Starts) -> float:
    """Mean square within starts."""
    squares = sum(variance(times) * (len(times) - 1) for times in starts)
    return squares / sum(len(times) - 1 for times in starts)


def _between(starts: Starts) -> float:
    """Variance of the starts' means without what scatter within adds; may be negative."""
    within = _within(starts)
    return variance([fmean(t) for t in starts]) - within * fmean(1 / len(t) for t in starts)
