"""What is remembered of a session's motion and noise, and which rate follows for its next chunk?"""

from collections import deque
from dataclasses import dataclass, field

from streamtwin.core.conditioning import Conditioning
from streamtwin.core.motion import Motion
from streamtwin.core.policies.noise import NOISE, MotionView, NoisePolicy


@dataclass(slots=True)
class NoiseState:
    """Rate of a session's last chunk, and how far its last k frames moved."""

    conditioning: Conditioning
    rate: float = field(init=False)
    recent: deque[float] = field(init=False)
    _policy: NoisePolicy = field(init=False)
    _constants: tuple[float, float, float, float, float] = field(init=False)
    """base, sigma, s_min, s_max, lam: see `MotionView`. A scenario's fields take long to look up."""

    def __post_init__(self) -> None:
        given = self.conditioning.noise_controller
        self.rate = base = self.conditioning.noise_rate
        self.recent = deque(maxlen=given.k)
        self._policy = NOISE[self.conditioning.noise]
        self._constants = base, given.sigma, given.s_min, given.s_max, given.lam

    def next_rate(self, motion: Motion, *, first: bool) -> tuple[MotionView, float]:
        """What the policy sees of a chunk of *motion*, and the rate that it chooses.

        The *first* chunk has nothing before it: it gets the scenario's rate, as in the reference.
        """
        view = self._view(motion)
        self.rate = view.base if first else self._policy(view)
        return view, self.rate

    def _view(self, motion: Motion) -> MotionView:
        self.recent.extend(motion)
        base, sigma, s_min, s_max, lam = self._constants
        # by place: made at every chunk, and names take as long again
        return MotionView(max(motion), self.rate, base, max(self.recent), sigma, s_min, s_max, lam)
