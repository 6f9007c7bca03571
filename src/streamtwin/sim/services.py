"""How long does each single service take? A prediction, and noise as the profile saw it.

Three kinds of noise are kept apart. Within a run each service draws a factor of its own. All services of
some moment are slow where the host is (`core.replayed`). Between runs a process that starts anew has
another layout of its memory and finds its host in another state, and keeps both for as long as it
runs: so a rank draws one factor for each kind of service, and a host one for all that it computes. Run
0 is the expected run, in which all these factors are 1; others are what may happen instead.
"""

from collections.abc import Callable, Sequence
from math import exp, log, sqrt
from typing import Literal

import numpy as np

from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import LatencyModel, ProvenanceKind
from streamtwin.core.ops import (
    COMPUTED,
    Collective,
    Copy,
    DitPass,
    Hop,
    Migration,
    Op,
    VaeDecode,
    VaeEncode,
    family_of,
)
from streamtwin.core.replayed import Replayed
from streamtwin.sim.draws import uniforms

Level = Literal["low", "mean", "high"]

STREAMS: dict[type, int] = {
    DitPass: 0, VaeEncode: 1, VaeDecode: 2, Hop: 3, Collective: 4, Migration: 5, Copy: 6,
}  # fmt: skip
"""One random stream per rank and kind of service, so that runs that differ in one share the
others' draws (common random numbers)."""

ASIDE = 20
"""The stream of a link that hangs off the ring, whose transfers are in no order with the ring's."""
Parts = Callable[[DitPass], Sequence[tuple[Op, int]]]
"""Of which services a pass consists, each with how often it occurs."""

BETWEEN, HOST = 1_000_001, 1_000_002
"""Begin the keys of what a rank's runs differ by, and of what a host's do. They are longer than those
of services, so none is another's."""


class ServiceTimes:
    """Draws service times in seconds for one rank in one *run*; 0 is the expected one."""

    def __init__(
        self,
        latency: LatencyModel,
        seed: int,
        rank: int,
        *,
        noise: bool,
        level: Level = "mean",
        run: int = 0,
        parts: Parts | None = None,
        first_rank: int = 0,
        luck: int = 0,
    ) -> None:
        self._parts, self._host = parts, latency.host(rank)
        # cores of one host share its state; a card has one of its own
        self._on_host = [HOST, seed, first_rank if self._host.of_all else rank, run]
        self.latency, self.noise, self.level, self.run = latency, noise, level, run
        # luck tells expected runs apart; other runs have another number
        again = [run] if run else [0, luck] if luck else []
        self._draws = {
            stream: uniforms([seed, rank, stream, *again]) for stream in (*STREAMS.values(), ASIDE)
        }
        self._moment = [*self._on_host, 1, *([luck] if luck and not run else [])]
        self._own = [BETWEEN, seed, rank, run]
        self._known: dict[Op, tuple[float, np.ndarray]] = {}
        self.extrapolated = False
        """Whether any answer came from outside what was calibrated."""
        self.says: set[tuple[str, ProvenanceKind]] = set()
        """Who said it, for each kind of service that was asked for."""
        self.scatters = False
        """Whether any service time was drawn from repetitions."""

    @property
    def pace(self) -> Replayed | None:
        """How the host's own pace changes what work takes; None: not at all.

        What is on one host lives through the same moments.
        """
        trace = self._host.trace if self.noise else None
        if trace is None:
            return None
        share = np.random.default_rng(self._moment).random()
        return Replayed(trace, share * trace.length_s)

    def __call__(self, op: Op) -> float:
        """Time of one service of *op*: its predicted time times a factor seen in calibration."""
        return self.of(op)()

    def of(self, op: Op, stream: int | None = None) -> Callable[[], float]:
        """What draws the time of every service of *op*, one after the other.

        It draws from *stream*, by default from that of the operation's kind. Of a pass that several
        members share it is the sum of its parts, each with a factor of its own.
        """
        if self._parts is not None and isinstance(op, DitPass):
            draws = [
                draw for part, count in self._parts(op) for draw in [self._one(part, None)] * count
            ]
            return lambda: sum(draw() for draw in draws)
        return self._one(op, stream)

    def _one(self, op: Op, stream: int | None) -> Callable[[], float]:
        expected_s, factors = self._lookup(op)
        if not self.noise or not len(factors):
            return lambda: expected_s
        self.scatters = True
        draws = self._draws[STREAMS[type(op)] if stream is None else stream]
        times_s, count = (expected_s * factors).tolist(), len(factors)
        return lambda: times_s[int(count * next(draws))]

    def move_s(self, size_bytes: int) -> float:
        """Time in which a block of *size_bytes* moves: as measured, else as a hop of so many bytes.

        Raises:
            CalibrationError: the latency model knows neither.
        """
        move: Op = Migration(size_bytes)
        try:
            self._lookup(move)
        except CalibrationError:
            move = Hop(size_bytes)
        return self.of(move, STREAMS[Migration])()

    def _run_factor(self, op: Op) -> float:
        """By how much this run is slower at *op* than the expected one; its mean over runs is 1.

        Lognormal, so that it is positive, with the relative standard deviation seen between runs, of
        which all that is computed on a host has its `common` share in common.
        """
        if not self.noise or not self.run:
            return 1.0
        sigma = sqrt(log(1 + self.latency.between(op) ** 2))
        shift = float(np.random.default_rng([*self._own, STREAMS[type(op)]]).normal())
        if isinstance(op, COMPUTED):
            common = float(np.random.default_rng([*self._on_host, 0]).normal())
            shift = sqrt(self._host.common) * common + sqrt(1 - self._host.common) * shift
        return exp(sigma * shift - sigma**2 / 2)

    def _lookup(self, op: Op) -> tuple[float, np.ndarray]:
        if op not in self._known:
            prediction = self.latency.predict(op)
            self.extrapolated |= prediction.provenance.extrapolated
            self.says.add((_service(op), prediction.provenance.kind))
            expected_s = {
                "low": prediction.low_s,
                "mean": prediction.mean_s,
                "high": prediction.high_s,
            }[self.level]
            expected_s *= self._run_factor(op)
            self._known[op] = (expected_s, np.asarray(self.latency.noise(op), dtype=float))
        return self._known[op]


def _service(op: Op) -> str:
    """The word for services like *op*; a stream's first chunk is known on other grounds than others."""
    first = isinstance(op, VaeEncode | VaeDecode) and op.first
    return f"first {family_of(op)}" if first else family_of(op)
