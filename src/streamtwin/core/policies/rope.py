"""At which temporal position is a latent frame rotated?"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PositionView:
    """The latent frame's number in the session and the frames of the window."""

    frame: int
    window: int


RopePolicy = Callable[[PositionView], int]


def never(view: PositionView) -> int:
    """Count on without end: positions are the frame numbers."""
    return view.frame


ROPE: dict[str, RopePolicy] = {"never": never}
