"""Which sessions does an open-loop process bring, when, how long, of which class?

Pure functions of the scenario's seed and the replication's number: they are asked before a run, so
that both executors see the same sessions. Amounts are drawn in units of their mean, so that another
mean scales what is drawn and shifts nothing.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamtwin.core.arrivals import Arrivals
from streamtwin.core.errors import ScenarioError
from streamtwin.core.luck import Purpose, stream
from streamtwin.core.section import MAX_SESSIONS
from streamtwin.core.source import MAX_PHASES, Phases

PHASES_LUCK: tuple[Purpose, Purpose] = ("active", "idle")

Instants = npt.NDArray[np.float64]


def joins_s(arrivals: Arrivals, seed: int, run: int) -> tuple[float, ...]:
    """When each session joins, in seconds of the run, in order.

    Poisson: exponential gaps (the definition of the process). Bursts: a Poisson process of bursts,
    whose sessions follow one another by `burst_gap_s`; a batch Poisson process with gaps.

    Raises:
        ScenarioError: nobody joins, or more than records are made for.
    """
    instants = _instants(arrivals, seed, run)
    if arrivals.until_s is not None:
        instants = instants[instants <= arrivals.until_s]
    instants = instants[: arrivals.max_sessions]
    if not len(instants):
        raise ScenarioError(
            f"workload.arrivals.until_s = {arrivals.until_s}: with rate_per_s = "
            f"{arrivals.rate_per_s} and this seed no session joins by then"
        )
    if len(instants) > MAX_SESSIONS:
        raise ScenarioError(
            f"workload.arrivals.until_s = {arrivals.until_s} with rate_per_s = "
            f"{arrivals.rate_per_s} brings more than {MAX_SESSIONS} sessions, which one run does "
            "not take: shorten until_s or give max_sessions"
        )
    return tuple(instants.tolist())


def _instants(arrivals: Arrivals, seed: int, run: int) -> Instants:
    """More instants than a run takes sessions, in order."""
    assert arrivals.rate_per_s is not None
    count, mean_s = MAX_SESSIONS + 1, 1 / arrivals.rate_per_s
    if arrivals.process == "fixed":
        return np.arange(count, dtype=np.float64) * mean_s
    units = stream(seed, run, "joins").standard_exponential(count)
    if arrivals.process == "poisson":
        return np.multiply(np.cumsum(units), mean_s, dtype=np.float64)
    assert arrivals.burst_size is not None
    starts = np.cumsum(units) * mean_s * arrivals.burst_size
    within = np.arange(arrivals.burst_size) * (arrivals.burst_gap_s or 0.0)
    return np.sort((starts[:, None] + within).ravel(), kind="stable")[:count]


def lengths(arrivals: Arrivals, count: int, seed: int, run: int) -> tuple[float, ...]:
    """How long each of *count* sessions is, in units of its mean."""
    if arrivals.lengths == "fixed":
        return (1.0,) * count
    return tuple(stream(seed, run, "lengths").standard_exponential(count).tolist())


def drawn_classes(shares: Sequence[float], count: int, seed: int, run: int) -> list[int]:
    """The class of each of *count* sessions, drawn by *shares*: their arrivals are independent."""
    bounds = np.cumsum(shares)[:-1]
    uniform = stream(seed, run, "classes").random(count)
    return [int(one) for one in np.searchsorted(bounds, uniform, side="right")]


def dealt_classes(shares: Sequence[float], count: int) -> list[int]:
    """The class of each of *count* sessions, dealt so that every beginning has its *shares*.

    The class that is furthest behind its share comes next; of equals the first.
    """
    dealt, having = [], [0] * len(shares)
    for session in range(count):
        behind = [share * (session + 1) - had for share, had in zip(shares, having, strict=True)]
        chosen = max(range(len(shares)), key=lambda one: (behind[one], -one))
        having[chosen] += 1
        dealt.append(chosen)
    return dealt


def idle_phases(
    phases: Phases, video_s: float, seed: int, run: int, session: int
) -> list[tuple[float, float]]:
    """The idle phases of a session that sends *video_s* seconds of frames: [begin, end] since it joined.

    Raises:
        ScenarioError: there would be more than one session may have.
    """
    if video_s / phases.active_s > MAX_PHASES / 2:
        most = f"{MAX_PHASES / 2:,.0f}"
        raise ScenarioError(
            f"workload.phases.active_s = {phases.active_s} cuts {video_s:.1f} s of frames into more "
            f"than {most} phases: make it longer"
        )
    active, idle = (stream(seed, run, purpose, session) for purpose in PHASES_LUCK)

    def length_s(luck: np.random.Generator, mean_s: float) -> float:
        return mean_s * (luck.standard_exponential() if phases.lengths == "exponential" else 1.0)

    found: list[tuple[float, float]] = []
    sent_s = now_s = 0.0
    while len(found) < MAX_PHASES:
        active_s = length_s(active, phases.active_s)
        sent_s += active_s
        if sent_s >= video_s:
            break
        begin_s = now_s + active_s
        now_s = begin_s + length_s(idle, phases.idle_s)
        found.append((begin_s, now_s))
    return found
