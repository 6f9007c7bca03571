"""How many waiting chunks does a lane take in at its next turn?"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LaneView:
    """What rank 0 knows of a lane: rows that go on, room, and chunks waiting at the camera.

    `entry_free` says that no row of the lane is at the first step, which only one row may hold.
    """

    rows: int
    max_rows: int
    entry_free: bool
    waiting: int


BatchingPolicy = Callable[[LaneView], int]


def fixed(view: LaneView) -> int:
    """Take one chunk whenever the lane has room, and wait for it if need be (the reference)."""
    return 1 if view.entry_free and view.rows < view.max_rows else 0


BATCHING: dict[str, BatchingPolicy] = {"fixed": fixed}
