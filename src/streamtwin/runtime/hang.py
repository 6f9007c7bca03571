"""Has a rank stopped making progress, and which one is to blame?

A rank that waits for a neighbour is not to blame for it: the one that is stuck is the one in work
of its own. If all wait for each other there is no such rank, and the message says who waits for
whom.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamtwin.runtime.pulse import Beat


class Stuck(NamedTuple):
    """The ranks to blame, and what is wrong, in words."""

    ranks: tuple[int, ...]
    words: str


def judge(
    beats: Sequence[Beat],
    ages_s: Sequence[float],
    timeout_s: float,
    stopped: Mapping[int, str] | None = None,
) -> Stuck | None:
    """Name the stuck ranks, given each rank's last beat and for how long there was none.

    *stopped* has the ranks whose process does not run at all, and why: no wait excuses those.
    """
    late_s = [age - beat.lasts_s for beat, age in zip(beats, ages_s, strict=True)]
    left = [rank for rank, beat in enumerate(beats) if beat.activity != "over"]
    overdue = [rank for rank in left if late_s[rank] > timeout_s]
    for rank in overdue:
        if stopped and rank in stopped:
            return Stuck((rank,), f"rank {rank} is stuck: {stopped[rank]} {_since(late_s[rank])}")
    working = [rank for rank in overdue if beats[rank].works]
    if working:
        rank = max(working, key=lambda one: late_s[one])
        return Stuck((rank,), f"rank {rank} is stuck: {beats[rank].words} {_since(late_s[rank])}")
    if left and overdue == left:
        who = ", ".join(f"rank {rank} {beats[rank].words}" for rank in left)
        least_s = min(late_s[rank] for rank in left)
        return Stuck(tuple(left), f"all ranks wait for each other {_since(least_s)}: {who}")
    return None


def _since(seconds: float) -> str:
    return f"for {seconds:.3g} s"


@dataclass(slots=True)
class Watch:
    """Follows the beats of all ranks over time.

    *read* gives each rank's latest beat, *clock* seconds. A rank's age grows only by what was
    watched: a watcher that was itself suspended blames nobody for the gap.
    """

    read: Callable[[], Sequence[Beat]]
    timeout_s: float
    clock: Callable[[], float]
    _seen: list[Beat] = field(default_factory=list)
    _ages_s: list[float] = field(default_factory=list)
    _looked_s: float = 0.0

    @property
    def every_s(self) -> float:
        """How often to look: often enough that a verdict comes within a tenth of the timeout."""
        return min(1.0, self.timeout_s / 10)

    def look(self, stopped: Callable[[], Mapping[int, str]] = dict) -> Stuck | None:
        """Read all beats; the verdict, if there is one. *stopped* is asked only when it matters."""
        now_s, beats = self.clock(), list(self.read())
        if not self._seen:
            self._seen, self._ages_s, self._looked_s = beats, [0.0] * len(beats), now_s
        passed_s = min(now_s - self._looked_s, 3 * self.every_s)
        self._looked_s = now_s
        for rank, beat in enumerate(beats):
            same = beat == self._seen[rank]
            self._ages_s[rank] = self._ages_s[rank] + passed_s if same else 0.0
        self._seen = beats
        if max(self._ages_s, default=0.0) <= self.timeout_s:
            return None
        return judge(beats, self._ages_s, self.timeout_s, stopped())
