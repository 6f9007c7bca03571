"""By how much do the clocks of two hosts differ, and what were instants on rank 0's clock?

A rank asks rank 0 for its time over and over; the answer of the shortest round trip is off by at
most half of it (Cristian, Probabilistic clock synchronization, Distributed Computing 3, 1989).
Done at both ends of a run, it also gives the drift between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from streamtwin.core.records import Recorder

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Exchange(NamedTuple):
    """One question: when it was asked and answered here, and what rank 0's clock said."""

    asked_s: float
    answer_s: float
    heard_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Rank 0's clock less this one, at `at_s` of this one, off by `error_s` at most."""

    at_s: float
    offset_s: float
    error_s: float


LEADER = Reading(0.0, 0.0, 0.0)
"""How rank 0 reads itself."""


def read_offset(exchanges: Sequence[Exchange], same_host: bool = False) -> Reading:
    """What *exchanges* say. On the *same host* the clocks are one, if that is within the error."""
    best = min(exchanges, key=lambda one: one.heard_s - one.asked_s)
    middle_s, error_s = (best.asked_s + best.heard_s) / 2, (best.heard_s - best.asked_s) / 2
    offset_s = best.answer_s - middle_s
    if same_host and abs(offset_s) <= error_s:
        return Reading(middle_s, 0.0, 0.0)
    return Reading(middle_s, offset_s, error_s)


@dataclass(frozen=True, slots=True)
class ClockMap:
    """From this rank's clock to rank 0's: straight between a reading at each end of the run."""

    start: Reading
    end: Reading

    @property
    def drift(self) -> float:
        """Seconds that rank 0's clock gains on this one a second."""
        length_s = self.end.at_s - self.start.at_s
        return (self.end.offset_s - self.start.offset_s) / length_s if length_s > 0 else 0.0

    @property
    def error_s(self) -> float:
        """By how much an instant may be off: the readings' errors, and what drifted within items.

        An item carries its sender's instant, which was not corrected for drift when it was read.
        """
        drifted_s = abs(self.end.offset_s - self.start.offset_s)
        return max(self.start.error_s, self.end.error_s) + drifted_s

    def retimed(self, recorder: Recorder, start_s: float) -> Recorder:
        """*recorder*, whose instants count from *start_s* on this clock, on rank 0's."""
        base_s = self.drift * (start_s - self.start.at_s)

        def there(at_s: float) -> float:
            return at_s + base_s + self.drift * at_s

        return Recorder(
            spans=[
                replace(span, began_s=there(span.began_s), ended_s=there(span.ended_s))
                for span in recorder.spans
            ],
            chunks={
                key: replace(
                    chunk,
                    released_s=there(chunk.released_s),
                    taken_s=None if chunk.taken_s is None else there(chunk.taken_s),
                    emitted_s=None if chunk.emitted_s is None else there(chunk.emitted_s),
                )
                for key, chunk in recorder.chunks.items()
            },
            decisions=[replace(one, time_s=there(one.time_s)) for one in recorder.decisions],
        )


def boot_id() -> str:
    """Which start of which machine this is; empty where the system does not say."""
    return BOOT_ID.read_text("ascii").strip() if BOOT_ID.exists() else ""
