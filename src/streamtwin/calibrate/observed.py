"""What do all ranks together say of one configuration?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from streamtwin.calibrate.beside import BESIDE
from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.harness import UNSTABLE, Measurement, often, relative_iqr, undisturbed
from streamtwin.core.ops import Hop

FAR = 3.0
"""Interquartile ranges beyond the quartiles from where on a time is an accident (Tukey's outer
fence)."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One configuration with its times after warm-up, those of every rank together.

    `clean` are the times that no other process disturbed (see `harness.undisturbed`).
    """

    case: Case
    clean: tuple[float, ...]
    throttled: bool = False
    """Whether heat or power slowed the card in too many of the times."""

    @property
    def typical_s(self) -> float:
        """Expected service time of the clean times over all ranks; of a hop, their plain mean.

        A hop out of a core that computes waits for none or some of a scheduler's slice: its times
        lie in two heaps, and a far one is no accident.
        """
        return fmean(self.clean) if isinstance(self.case.op, Hop) else expected_s(self.clean)

    @property
    def ratios(self) -> tuple[float, ...]:
        """The clean times as shares of the typical one.

        Disturbed times stay out: what other processes took belongs to the host of that day, and
        the prediction around which the ratios are drawn does without it too.
        """
        return tuple(time / self.typical_s for time in self.clean)

    @property
    def stable(self) -> bool:
        """Whether the clean times spread little enough to trust the typical one."""
        return relative_iqr(self.clean) <= UNSTABLE


def expected_s(times: Sequence[float]) -> float:
    """The mean of *times*, those far out drawn in to the fence.

    A period is a sum of services, and sums go with means. Service times have a floor and a tail,
    so their median is too short. On the recorded times of a quiet host with two cores, half of
    each configuration's times predicting the mean of the other half, the median was off by -1.1
    to -3.4 % on average over a family, the plain mean by -0.6 to +3.5 %, this one by -1.1 to
    +0.2 %; single errors are the smallest of the three with two ranks computing (2.4 % of a pass;
    median 2.6 %), and between the other two with one.
    """
    low, high = np.percentile(times, [25, 75])
    reach = FAR * (high - low)
    return float(np.clip(times, low - reach, high + reach).mean())


def observe(measurements: Iterable[Measurement]) -> list[Observed]:
    """Put the ranks' measurements of each case together; those made beside them are left out."""
    ranks: dict[Case, list[Measurement]] = {}
    for measurement in measurements:
        if measurement.case.tag not in BESIDE:
            ranks.setdefault(measurement.case, []).append(measurement)
    return [_pool(case, each) for case, each in ranks.items()]


def _pool(case: Case, ranks: list[Measurement]) -> Observed:
    times = [time for one in ranks for time in one.steady]
    shares = [share for one in ranks for share in one.core_shares[one.warmups :]]
    slowed = [slow for one in ranks for slow in one.slowed or (False,) * len(one.steady)]
    return Observed(case, undisturbed(times, shares, slowed), often(slowed))
