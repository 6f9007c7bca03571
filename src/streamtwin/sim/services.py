"""How long does each single service take? A prediction, and noise as the profile saw it."""

from typing import Literal

import numpy as np

from streamtwin.core.latency import LatencyModel, ProvenanceKind
from streamtwin.core.ops import (
    Collective,
    Copy,
    DitPass,
    Hop,
    Migration,
    Op,
    VaeDecode,
    VaeEncode,
)

Level = Literal["low", "mean", "high"]

STREAMS: dict[type, int] = {
    DitPass: 0, VaeEncode: 1, VaeDecode: 2, Hop: 3, Collective: 4, Migration: 5, Copy: 6,
}  # fmt: skip
"""One random stream per rank and kind of service, so that runs that differ in one share the
others' draws (common random numbers)."""


class ServiceTimes:
    """Draws service times in seconds for one rank."""

    def __init__(
        self, latency: LatencyModel, seed: int, rank: int, *, noise: bool, level: Level = "mean"
    ) -> None:
        self.latency, self.noise, self.level = latency, noise, level
        self._draws = {
            kind: np.random.default_rng([seed, rank, stream]) for kind, stream in STREAMS.items()
        }
        self._known: dict[Op, tuple[float, np.ndarray]] = {}
        self.extrapolated = False
        """Whether any answer came from outside what was calibrated."""
        self.says: set[tuple[type[Op], ProvenanceKind]] = set()
        """Who said it, for each kind of service that was asked for."""

    def __call__(self, op: Op) -> float:
        """Time of one service of *op*: its predicted time times a factor seen in calibration."""
        expected_s, factors = self._lookup(op)
        if not self.noise or not len(factors):
            return expected_s
        return expected_s * float(factors[self._draws[type(op)].integers(len(factors))])

    def _lookup(self, op: Op) -> tuple[float, np.ndarray]:
        if op not in self._known:
            prediction = self.latency.predict(op)
            self.extrapolated |= prediction.provenance.extrapolated
            self.says.add((type(op), prediction.provenance.kind))
            expected_s = {
                "low": prediction.low_s,
                "mean": prediction.mean_s,
                "high": prediction.high_s,
            }[self.level]
            self._known[op] = (expected_s, np.asarray(self.latency.noise(op), dtype=float))
        return self._known[op]
