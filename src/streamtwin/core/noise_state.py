"""What is remembered of a session's motion and noise, and which rate follows for its next chunk?"""

from collections import deque
from dataclasses import dataclass, field

from streamtwin.core.conditioning import Conditioning
from streamtwin.core.motion import Motion
from streamtwin.core.policies.noise import NOISE, MotionView


@dataclass(slots=True)
class NoiseState:
    """Rate of a session's last chunk, and how far its last k frames moved."""

    conditioning: Conditioning
    rate: float = field(init=False)
    recent: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.rate = self.conditioning.noise_rate
        self.recent = deque(maxlen=self.conditioning.noise_controller.k)

    def next_rate(self, motion: Motion, *, first: bool) -> tuple[MotionView, float]:
        """What the policy sees of a chunk of *motion*, and the rate that it chooses.

        The *first* chunk has nothing before it: it gets the scenario's rate, as in the reference.
        """
        view = self._view(motion)
        self.rate = view.base if first else NOISE[self.conditioning.noise](view)
        return view, self.rate

    def _view(self, motion: Motion) -> MotionView:
        self.recent.extend(motion)
        given = self.conditioning.noise_controller
        return MotionView(
            motion=max(motion),
            rate=self.rate,
            base=self.conditioning.noise_rate,
            window_motion=max(self.recent),
            sigma=given.sigma,
            s_min=given.s_min,
            s_max=given.s_max,
            lam=given.lam,
        )
