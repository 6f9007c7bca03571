"""How did the host's own pace change while it was measured?

Times that were taken one right after the other are slow together where the host was slow, whatever they
timed. So each step of time has the mean slowness of what was timed in it. A part of that is chance. What
one step shares with the next is none, so every step keeps the share of its slowness that neighbours
have in common on average (the lag-one autocorrelation), and the rest stays scatter of single services.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from operator import truediv
from statistics import median

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.replayed import PaceTrace

STEP_SERVICES = 8
"""Services of median time that a step lasts: enough to tell it from chance, in most."""

LEAST_STEP_S = 0.1

LEAST_STEPS = 50
"""Steps below which an autocorrelation says nothing."""

CHANCE = 2.0
"""An autocorrelation of less than this over the square root of the steps is none (Bartlett 1946)."""

MOST = 5.0
"""A step counts as so many times slower or faster at most: beyond, the host stood still."""


Step = tuple[int, int]
"""A step of time: the round of starts that it lies in, and its number by the host's clock."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One time on one rank: its round of starts, its middle, its seconds, and how long it should be.

    *expected_s* is the mean of such times in the same start.
    """

    run: int
    rank: int
    middle_s: float
    seconds: float
    expected_s: float
    disturbed: bool = False
    """Whether other processes held the core for a part of it."""


@dataclass(frozen=True, slots=True)
class HostPace:
    """Slowness by step of time, at the same steps for every rank.

    `places` says where in each of `traces` a step is in which every rank timed something.
    """

    step_s: float
    places: dict[Step, int]
    traces: dict[int, PaceTrace]

    def at(self, run: int, rank: int, middle_s: float) -> float:
        """How many times as long as on average work took on *rank* at *middle_s*; 1: unknown."""
        place = self.places.get((run, int(middle_s / self.step_s)))
        return 1.0 if place is None else self.traces[rank].factors[place]


def host_pace(times: Sequence[Timed]) -> HostPace | None:
    """The pace of the ranks that took *times* at once; None where it did not change but by chance."""
    if not times:
        return None
    step_s = max(LEAST_STEP_S, STEP_SERVICES * median(time.seconds for time in times))
    taken_s: dict[Step, dict[int, list[float]]] = {}
    for time in times:
        step = time.run, int(time.middle_s / step_s)
        sums = taken_s.setdefault(step, {}).setdefault(time.rank, [0.0, 0.0])
        sums[0] += time.seconds
        sums[1] += time.expected_s
    ranks = sorted({time.rank for time in times})
    known = sorted(step for step, by_rank in taken_s.items() if len(by_rank) == len(ranks))
    if len(known) < LEAST_STEPS:
        return None
    slowness = [[truediv(*taken_s[step][rank]) for step in known] for rank in ranks]
    logs = np.clip(np.log(slowness), -log(MOST), log(MOST))
    share = _shared(logs)
    if not share:
        return None
    places = {step: place for place, step in enumerate(known)}
    traces = {}
    for rank, slow in zip(ranks, np.exp(share * logs), strict=True):
        usual = _usual(slow, [time for time in times if time.rank == rank], step_s, places)
        traces[rank] = PaceTrace(step_s, tuple((slow / usual).tolist()))
    return HostPace(step_s, places, traces)


def _usual(
    slow: NDArray[np.float64], times: Sequence[Timed], step_s: float, places: dict[Step, int]
) -> float:
    """How *slow* a rank is where nothing disturbed it: the times that fits rest on have mean 1."""
    clean = [
        (float(slow[place]), time.expected_s)
        for time in times
        if not time.disturbed
        and (place := places.get((time.run, int(time.middle_s / step_s)))) is not None
    ]
    if not clean:
        return float(slow.mean())
    return sum(factor * own for factor, own in clean) / sum(own for _, own in clean)


def _shared(logs: NDArray[np.float64]) -> float:
    """The share of what steps differ by that they have in common with the next; 0: none but chance."""
    apart = logs - logs.mean(axis=1, keepdims=True)
    whole = float((apart**2).mean())
    if whole <= 0:
        return 0.0
    share = float((apart[:, 1:] * apart[:, :-1]).mean()) / whole
    return min(share, 1.0) if share > CHANCE / sqrt(apart.shape[1]) else 0.0
