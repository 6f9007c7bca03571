"""How much noise is mixed into a chunk, given how much it moves?

The rate s mixes x = s * noise + (1 - s) * latents; the model is told the timestep
1000 * s - 100 (the offset is the reference system's).
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MotionView:
    """What is known when a chunk is encoded.

    `motion` is the largest root mean square difference of consecutive frames of the chunk, on
    pixels in [-1, 1]; `rate` is the rate of the chunk before; `base` the scenario's rate.
    """

    motion: float
    rate: float
    base: float


NoisePolicy = Callable[[MotionView], float]


def fixed(view: MotionView) -> float:
    """Always the scenario's rate."""
    return view.base


def motion_aware(view: MotionView) -> float:
    """Less noise the more the chunk moves, smoothed over chunks.

    s <- 0.9 (s0 - 0.1 min(motion / 0.2, 1)) + 0.1 s, the constants of StreamDiffusionV2's code.
    """
    return 0.9 * (view.base - 0.1 * min(view.motion / 0.2, 1.0)) + 0.1 * view.rate


NOISE: dict[str, NoisePolicy] = {"fixed": fixed, "motion_aware": motion_aware}


def entry_timestep(rate: float) -> int:
    """Timestep that the model is told for the first step of a chunk mixed at *rate*."""
    return int(1000 * rate) - 100
