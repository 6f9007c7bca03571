"""What do all ranks together say of one configuration?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from streamtwin.calibrate.beside import BESIDE
from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.harness import (
    DISTURBED,
    UNSTABLE,
    Measurement,
    often,
    relative_iqr,
    undisturbed_at,
)
from streamtwin.calibrate.host_pace import HostPace, Timed, host_pace
from streamtwin.calibrate.variance import Start
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import COMPUTED, Hop

FAR = 3.0
"""Interquartile ranges beyond the quartiles from where on a time is an accident (Tukey's outer
fence)."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One configuration with its times after warm-up, those of every run and rank together.

    `clean` are the times that no other process disturbed (see `harness.undisturbed`); `starts`
    says for each of them in which run and on which rank, so in which start of a process, it was
    taken. Empty: all in one.
    """

    case: Case
    clean: tuple[float, ...]
    starts: tuple[Start, ...] = ()
    throttled: bool = False
    """Whether heat or power slowed the card in too many of the times."""
    paces: tuple[float, ...] = ()
    """How slow the host was at each of the clean times; empty: as on average."""

    @property
    def typical_s(self) -> float:
        """Expected service time: the mean over runs of each run's expected time on all ranks.

        Runs count alike, because starts differ more than repetitions do and cases stop at
        different numbers of them.
        """
        runs: dict[int, list[float]] = {}
        for (run, _), times in self.by_start.items():
            runs.setdefault(run, []).extend(times)
        return fmean(self._expected_s(times) for times in runs.values())

    def _expected_s(self, times: Sequence[float]) -> float:
        """Of a hop the plain mean.

        A hop out of a core that computes waits for none or some of a scheduler's slice: its times
        lie in two heaps, and a far one is no accident.
        """
        return fmean(times) if isinstance(self.case.op, Hop) else expected_s(times)

    @property
    def by_start(self) -> dict[Start, list[float]]:
        """The clean times by the start of a process that they come from."""
        return self._by_start(self.clean)

    def _by_start(self, values: Sequence[float]) -> dict[Start, list[float]]:
        found: dict[Start, list[float]] = {}
        for start, value in zip(self.starts or ((0, 0),) * len(values), values, strict=True):
            found.setdefault(start, []).append(value)
        return found

    @property
    def scatter(self) -> dict[Start, list[float]]:
        """The times of each start as they go into variances: far ones drawn in, save for hops."""
        if isinstance(self.case.op, Hop):
            return self.by_start
        return {start: drawn_in(times).tolist() for start, times in self.by_start.items()}

    @property
    def ratios(self) -> tuple[float, ...]:
        """The clean times as shares of the typical one of their own start of a process.

        What starts differ by is no scatter within a run; the simulator draws it apart. Disturbed
        times stay out: they are part of the host's pace, which is played again by itself, and what
        it gave the others is out too. The mean of n times is nearer to them than the expectation,
        which the power sqrt(n / (n - 1)) makes good.
        """
        paces = self._by_start(self.paces or (1.0,) * len(self.clean))
        found: list[float] = []
        for start, times in self.by_start.items():
            typical_s, power = self._expected_s(times), inflation(len(times))
            ratios = [(time / typical_s) ** power for time in times]
            found += [ratio / pace for ratio, pace in zip(ratios, paces[start], strict=True)]
        return tuple(found)

    @property
    def stable(self) -> bool:
        """Whether the clean times spread little enough to trust the typical one."""
        return relative_iqr(self.clean) <= UNSTABLE


def inflation(count: int) -> float:
    """The power that makes good how near *count* times are to their own mean."""
    return sqrt(count / (count - 1)) if count > 1 else 1.0


def expected_s(times: Sequence[float]) -> float:
    """The mean of *times*, those far out drawn in to the fence.

    A period is a sum of services, and sums go with means. Service times have a floor and a tail,
    so their median is too short. On the recorded times of a quiet host with two cores, half of
    each configuration's times predicting the mean of the other half, the median was off by -1.1
    to -3.4 % on average over a family, the plain mean by -0.6 to +3.5 %, this one by -1.1 to
    +0.2 %; single errors are the smallest of the three with two ranks computing (2.4 % of a pass;
    median 2.6 %), and between the other two with one.
    """
    return float(drawn_in(times).mean())


def drawn_in(times: Sequence[float]) -> NDArray[np.float64]:
    """*times* with those far out moved to the fence."""
    low, high = np.percentile(times, [25, 75])
    reach = FAR * (high - low)
    return np.clip(times, low - reach, high + reach)


def observe(measurements: Iterable[Measurement]) -> list[Observed]:
    """Put the measurements of each case on all ranks and in all runs together.

    What was measured beside the fitted cases is left out.

    Raises:
        CalibrationError: a time is not a positive number, or a case has none after its warm-up.
    """
    taken: dict[Case, list[Measurement]] = {}
    for measurement in measurements:
        if measurement.case.tag not in BESIDE:
            taken.setdefault(measurement.case, []).append(measurement)
    every = [one for each in taken.values() for one in each]
    paces = {ranks: pace_while(every, ranks) for ranks in {case.ranks for case in taken}}
    return [_pool(case, each, paces[case.ranks]) for case, each in taken.items()]


def pace_while(measurements: Iterable[Measurement], ranks: int) -> HostPace | None:
    """How the host's pace changed while *ranks* ranks computed; None: not, or nothing tells it.

    Times that other processes disturbed count: that is how a host becomes slow.
    """
    computed = [
        one
        for one in measurements
        if one.case.ranks == ranks and one.case.tag not in BESIDE
        if isinstance(one.case.op, COMPUTED)
    ]
    if not all(one.began_s for one in computed):
        return None
    times = [timed for one in computed for timed in _timed(one)]
    return host_pace(times)


def _timed(one: Measurement) -> Iterator[Timed]:
    """The steady times of *one*; how far each is from their mean is made good as for `ratios`."""
    usual_s, power = expected_s(one.steady), inflation(len(one.steady))
    taken = zip(one.steady, one.began_s[one.warmups :], one.core_shares[one.warmups :], strict=True)
    for seconds, began_s, share in taken:
        alone_s = usual_s * (seconds / usual_s) ** power
        middle_s = began_s + seconds / 2
        yield Timed(one.run, one.rank, middle_s, alone_s, usual_s, share < DISTURBED)


def _pool(case: Case, ranks: list[Measurement], pace: HostPace | None) -> Observed:
    times = [_checked(one, time) for one in ranks for time in one.steady]
    shares = [share for one in ranks for share in one.core_shares[one.warmups :]]
    starts = [(one.run, one.rank) for one in ranks for _ in one.steady]
    slowed = [slow for one in ranks for slow in one.slowed or (False,) * len(one.steady)]
    if not times:
        raise CalibrationError(f"{case.op} at {case.ranks} ranks: no time after the warm-up")
    # a clock that counts coarsely may find that a short time held no core at all
    kept = [pair for pair in undisturbed_at(times, shares, slowed) if pair[1] > 0]
    if not kept:
        raise CalibrationError(f"{case.op} at {case.ranks} ranks: no time in which it held a core")
    clean = tuple(time for _, time in kept)
    slow = _paces(ranks, pace) if pace is not None and isinstance(case.op, COMPUTED) else ()
    return Observed(
        case,
        clean,
        tuple(starts[at] for at, _ in kept),
        often(slowed),
        tuple(slow[at] for at, _ in kept) if slow else (),
    )


def _paces(ranks: Sequence[Measurement], pace: HostPace) -> list[float]:
    """How slow the host was at each steady time of *ranks*."""
    return [
        pace.at(one.run, one.rank, began_s + seconds / 2)
        for one in ranks
        for seconds, began_s in zip(one.steady, one.began_s[one.warmups :], strict=True)
    ]


def _checked(one: Measurement, time: float) -> float:
    if not (isfinite(time) and time > 0):
        where = f"run {one.run}, rank {one.rank}"
        raise CalibrationError(f"{one.case.op}: {where}: a time of {time} s: give positive seconds")
    return time
