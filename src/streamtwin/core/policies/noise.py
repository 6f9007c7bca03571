"""How much noise is mixed into a chunk, given how much it moves?

The rate s mixes x = s * noise + (1 - s) * latents; the model is told the timestep
1000 * s - 100 (the offset is the reference system's).
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class MotionView:
    """What is known when a chunk is encoded.

    Attributes:
        motion: largest root mean square difference of consecutive frames of the chunk, on pixels
            in [-1, 1].
        rate: rate of the chunk before.
        base: the scenario's rate.
        window_motion: as `motion`, of the scenario's last k frames, however many chunks they span.
        sigma: motion from which on noise is least.
        s_min: least rate, for motion of `sigma` and more.
        s_max: greatest rate, for a still picture.
        lam: weight of the new rate against the one before.
    """

    motion: float
    rate: float
    base: float
    window_motion: float
    sigma: float
    s_min: float
    s_max: float
    lam: float

    def saw(self) -> dict[str, float]:
        """The view as numbers by name, for the record."""
        return {
            "motion": self.motion,
            "rate": self.rate,
            "base": self.base,
            "window_motion": self.window_motion,
            "sigma": self.sigma,
            "s_min": self.s_min,
            "s_max": self.s_max,
            "lam": self.lam,
        }


NoisePolicy = Callable[[MotionView], float]


def fixed(view: MotionView) -> float:
    """Always the scenario's rate."""
    return view.base


def motion_aware(view: MotionView) -> float:
    """Less noise the more the chunk moves, smoothed over chunks.

    s <- 0.9 (s0 - 0.1 min(motion / 0.2, 1)) + 0.1 s, the constants of StreamDiffusionV2's code.
    """
    return 0.9 * (view.base - 0.1 * min(view.motion / 0.2, 1.0)) + 0.1 * view.rate


def motion_window(view: MotionView) -> float:
    """Less noise the more the last k frames move, from s_max down to s_min, smoothed over chunks.

    s <- lam (s_max - (s_max - s_min) min(motion / sigma, 1)) + (1 - lam) s, the controller of the
    StreamDiffusionV2 paper.
    """
    share = min(view.window_motion / view.sigma, 1.0)
    target = view.s_max - (view.s_max - view.s_min) * share
    smoothed = view.lam * target + (1.0 - view.lam) * view.rate
    # rounding must not carry a rate out of its range
    return min(max(smoothed, view.s_min), view.s_max)


NOISE: dict[str, NoisePolicy] = {
    "fixed": fixed,
    "motion_aware": motion_aware,
    "motion_window": motion_window,
}


def entry_timestep(rate: float) -> int:
    """Timestep that the model is told for the first step of a chunk mixed at *rate*."""
    return int(1000 * rate) - 100
