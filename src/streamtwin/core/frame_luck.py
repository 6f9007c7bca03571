"""Which frames of a live input are lost, and how far off its beat is each that comes?"""

from dataclasses import dataclass, field
from math import log
from statistics import NormalDist

import numpy as np

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.luck import stream
from streamtwin.core.source import Camera


@dataclass(slots=True)
class FrameLuck:
    """What happens to the frames of one session's camera, drawn chunk by chunk and then kept.

    Every frame and every chunk has a number of its own, whatever the parameters are, so a greater
    loss loses more frames and those that a smaller one loses too.
    """

    camera: Camera
    shape: ChunkShape
    fps: float
    seed: int
    run: int
    session: int
    _lost: list[int] = field(init=False, default_factory=list)
    _late_s: list[float] = field(init=False, default_factory=list)
    _losses: np.random.Generator = field(init=False)
    _jitter: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._losses = stream(self.seed, self.run, "losses", self.session)
        self._jitter = stream(self.seed, self.run, "jitter", self.session)

    def lost(self, chunk: int) -> int:
        """Frames lost before the last frame of camera chunk *chunk*."""
        self._draw(chunk)
        return self._lost[chunk]

    def late_s(self, chunk: int) -> float:
        """Seconds by which the last frame of *chunk* is late; negative: early."""
        self._draw(chunk)
        return self._late_s[chunk]

    def _draw(self, chunk: int) -> None:
        while len(self._lost) <= chunk:
            before = self._lost[-1] if self._lost else 0
            count = self.shape.frames_of(len(self._lost))
            # 1 - u lies in (0, 1]: the logarithm is finite
            units = (1.0 - u for u in self._losses.random(count).tolist())
            self._lost.append(before + sum(lost_before(unit, self.camera.loss) for unit in units))
            uniform = self._jitter.random()
            self._late_s.append(offset_s(uniform, self.camera.jitter_s, 0.5 / self.fps))


def lost_before(unit: float, loss: float) -> int:
    """Frames lost in a row before the next that comes: geometric, by inversion of *unit* in (0, 1]."""
    return 0 if loss == 0 else int(log(unit) / log(loss))


def offset_s(uniform: float, std_s: float, most_s: float) -> float:
    """A normal deviation of *std_s* cut to +- *most_s*, by inversion of *uniform* in [0, 1)."""
    if std_s == 0:
        return 0.0
    normal = NormalDist(0.0, std_s)
    low, high = normal.cdf(-most_s), normal.cdf(most_s)
    place = low + uniform * (high - low)
    return -most_s if place <= 0 else max(-most_s, min(most_s, normal.inv_cdf(place)))
