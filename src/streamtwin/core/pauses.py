"""When does a camera that pauses show its frames?"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Pauses:
    """Phases without frames of one session: seconds of video at which each begins, idle until then."""

    begins_s: tuple[float, ...] = ()
    idle_s: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, idle: Sequence[tuple[float, float]]) -> "Pauses":
        """Those of phases [begin, end] in seconds since the session joined, in order and apart."""
        total_s = (0.0, *accumulate(end - begin for begin, end in idle))
        begins_s = tuple(begin - gone for (begin, _), gone in zip(idle, total_s, strict=False))
        return cls(begins_s, total_s)

    def before_s(self, video_s: float) -> float:
        """Idle seconds that have passed when the frame at *video_s* comes."""
        return self.idle_s[bisect_right(self.begins_s, video_s)]


NO_PAUSES = Pauses()
"""Those of a session whose frames come without interruption."""
