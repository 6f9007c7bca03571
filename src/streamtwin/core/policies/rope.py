"""At which temporal position is a chunk rotated?

The answer follows from the chunk's number, so every KV row comes to it at its own pass and no
rank has to tell another.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PositionView:
    """What a position may depend on, all counted in latent frames.

    Attributes:
        frame: number in the session of the chunk's first frame.
        window: frames of the attention window.
        latents: frames T' of every chunk but the first, which has one more.
        threshold: position at which to restart; at least *window*.
    """

    frame: int
    window: int
    latents: int = 1
    threshold: int = 50


RopePolicy = Callable[[PositionView], int]


def never(view: PositionView) -> int:
    """Count on without end: positions are the frame numbers."""
    return view.frame


def reset(view: PositionView) -> int:
    """Restart behind the frames kept, at window - T', once the threshold (50) is reached.

    Where and when StreamDiffusionV2's code restarts. No frame's position reaches
    threshold + T' - 1.
    """
    latents = view.latents
    # chunks begin at frames 0, 1 + T', 1 + 2 T', ...: the first that reaches the threshold
    first = 1 + latents * -((1 - view.threshold) // latents)
    if view.frame < first:
        return view.frame
    base = view.window - latents
    period = -((base - view.threshold) // latents)
    return base + (view.frame - first) // latents % period * latents


ROPE: dict[str, RopePolicy] = {"never": never, "reset": reset}
