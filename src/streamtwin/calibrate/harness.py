"""How long does each case take, and is the answer steady?

All cases are timed in turn, in rounds of shuffled order, rather than one after the other to the
end. Drift of the machine then hits all cases alike, and each case finds the caches as another
operation left them, which is how it finds them in the pipeline; a tight loop over one operation
would flatter it. The price is that a round must be short against the budget.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.device_state import DeviceState, Gauge

WARMUPS = 1
"""Times of each case that are kept but not used: lazy allocation, first touch of memory."""

MIN_TIMES = 3
"""Times of each case that are taken even past the budget: below this there is no spread."""

ENOUGH_TIMES = 5
"""Times from which on a case with a small spread may stop."""

SETTLED = 0.01
"""A case stops once its interquartile range / sqrt(times) is below this share of the median."""

UNSTABLE = 0.15
"""A case whose interquartile range exceeds this share of its median is marked unstable."""

DISTURBED = 0.95
"""A time during which the process held its core for less than this share is disturbed."""

THROTTLED = 0.1
"""A case is marked throttled when heat or power slowed the card in more than this share of its
steady times."""

Clock = Callable[[], float]


class Runner(Protocol):
    """Performs cases; knows what has to be prepared before the clock is read."""

    def time_s(self, case: Case, clock: Clock) -> float:
        """Perform *case* once and return the seconds that it took by *clock*."""
        ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """Repeated times of one case on one rank, in seconds, in the order they were taken.

    `core_shares` says for each time how much of it the process held its core; the rest went to
    other processes of a busy host and says nothing about the operation. It is 1 where unknown.
    """

    case: Case
    rank: int
    times: tuple[float, ...]
    core_shares: tuple[float, ...]
    warmups: int = WARMUPS
    run: int = 0
    """Which start of the processes the times come from; starts differ more than repetitions do."""
    states: tuple[DeviceState, ...] = ()
    """State of the card right behind each time; empty where nothing tells it."""
    began_s: tuple[float, ...] = ()
    """When each time began, by a clock that all ranks of the host share; empty: nobody noted it."""

    @property
    def steady(self) -> tuple[float, ...]:
        """Times after the warm-up."""
        return self.times[self.warmups :]

    @property
    def clean(self) -> tuple[float, ...]:
        """Steady times that nothing disturbed; see `undisturbed` for what is done without any."""
        return undisturbed(self.steady, self.core_shares[self.warmups :], self.slowed)

    @property
    def slowed(self) -> tuple[bool, ...]:
        """For each steady time whether heat or power slowed the card; empty without states."""
        return tuple(state.throttled for state in self.states[self.warmups :])

    @property
    def throttled(self) -> bool:
        """Whether the card was slowed down too often for the times to be its usual ones."""
        return often(self.slowed)

    @property
    def rel_iqr(self) -> float:
        """Interquartile range of the clean times as a share of their median."""
        return relative_iqr(self.clean)

    @property
    def stable(self) -> bool:
        """Whether the spread is small enough to trust what the times say together."""
        return self.rel_iqr <= UNSTABLE


def often(slowed: Sequence[bool]) -> bool:
    """Whether more than `THROTTLED` of the times were *slowed*."""
    return sum(slowed) > THROTTLED * len(slowed)


def undisturbed(
    times: Sequence[float], core_shares: Sequence[float], slowed: Sequence[bool] = ()
) -> tuple[float, ...]:
    """The *times* at full clocks during which the core was held; see `undisturbed_at`."""
    return tuple(time for _, time in undisturbed_at(times, core_shares, slowed))


def undisturbed_at(
    times: Sequence[float], core_shares: Sequence[float], slowed: Sequence[bool] = ()
) -> list[tuple[int, float]]:
    """Places and values of the *times* at full clocks during which the core was held.

    Where too few were at full clocks, the *slowed* ones count as well; where the core was held
    during too few, it is what was held of each time that counts.
    """
    places = list(range(len(times)))
    full = [at for at in places if not slowed[at]] if slowed else places
    places = full if len(full) >= MIN_TIMES else places
    held = [at for at in places if core_shares[at] >= DISTURBED]
    if len(held) >= MIN_TIMES:
        return [(at, times[at]) for at in held]
    return [(at, times[at] * core_shares[at]) for at in places]


def relative_iqr(times: Sequence[float]) -> float:
    """Interquartile range of *times* as a share of their median."""
    low, middle, high = np.percentile(times, [25, 50, 75])
    return float((high - low) / middle)


@dataclass(slots=True)
class _Series:
    """The times of one case while they are taken."""

    case: Case
    rank: int
    times: list[float] = field(default_factory=list)
    core_shares: list[float] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)
    began_s: list[float] = field(default_factory=list)

    @property
    def measured(self) -> Measurement:
        return Measurement(
            self.case,
            self.rank,
            tuple(self.times),
            tuple(self.core_shares),
            states=tuple(self.states),
            began_s=tuple(self.began_s),
        )

    @property
    def minimal(self) -> bool:
        return len(self.times) >= WARMUPS + MIN_TIMES

    @property
    def settled(self) -> bool:
        clean = self.measured.clean
        enough = len(clean) >= ENOUGH_TIMES
        return enough and relative_iqr(clean) / len(clean) ** 0.5 <= SETTLED

    def take(
        self, runner: Runner, clock: Clock, core_clock: Clock | None, gauge: Gauge | None
    ) -> None:
        """Perform the case once more, and read the *gauge* before the card has cooled."""
        began_s, held_s = clock(), core_clock() if core_clock else 0.0
        self.began_s.append(began_s)
        self.times.append(runner.time_s(self.case, clock))
        lasted_s = clock() - began_s
        known = core_clock is not None and lasted_s > 0
        share = (core_clock() - held_s) / lasted_s if known and core_clock else 1.0
        self.core_shares.append(min(1.0, share))
        if gauge is not None:
            self.states.append(gauge.read())


def measure(
    cases: Sequence[Case],
    runner: Runner,
    clock: Clock,
    budget_s: float,
    progress: Callable[[float], None] | None = None,
    *,
    core_clock: Clock | None = None,
    gauge: Gauge | None = None,
    rank: int = 0,
    seed: int = 0,
    on_round: Callable[[list[Measurement]], None] | None = None,
) -> list[Measurement]:
    """Time *cases* in shuffled rounds until all are settled or *budget_s* is spent.

    Every case gets its warm-up and MIN_TIMES times even if that takes longer than the budget.
    *core_clock* counts the seconds that this process held a core; without it no time counts as
    disturbed. *gauge* tells the state of the card behind each time. *progress* hears the share of
    the budget that is spent, or of the minimum where that is less. *on_round* hears after every
    round what was taken so far. The order follows from *seed* alone. Measurements come in the order
    of *cases*.
    """
    began_s = clock()
    shuffled = random.Random(seed)  # noqa: S311 - an order of measuring, no secret
    series = [_Series(case, rank) for case in cases]

    def over() -> bool:
        return clock() - began_s >= budget_s

    while open_ := [s for s in series if not s.settled and not (s.minimal and over())]:
        shuffled.shuffle(open_)
        for one in open_:
            if not (one.minimal and over()):
                one.take(runner, clock, core_clock, gauge)
        if progress is not None:
            least = min(len(s.times) for s in series) / (WARMUPS + MIN_TIMES)
            progress(min(1.0, least, (clock() - began_s) / budget_s if budget_s > 0 else 1.0))
        if on_round is not None:
            on_round([one.measured for one in series])
    return [one.measured for one in series]
