"""How long does the VAE take for a chunk longer than any that was timed?

A Stream-VAE works latent by latent and carries its state along, so a long chunk takes what as many
chunks of one latent take, of which only the first may begin the stream. Calls that are made once a
chunk are counted once a latent then, so the true time is shorter rather than longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance
from streamtwin.core.ops import Op, VaeDecode, VaeEncode

FIRST = 2
"""Latents of the shortest chunk that begins a stream: the VAE's first latent is of one frame."""


@dataclass(frozen=True, slots=True)
class LongChunks:
    """What `base` answers, and of longer chunks of the VAE what follows from short ones."""

    base: LatencyModel

    @property
    def provenance(self) -> Provenance:
        """Where the model comes from."""
        return self.base.provenance

    def predict(self, op: Op) -> Prediction:
        """Predict the service time of *op*.

        Raises:
            CalibrationError: `base` does not know chunks of one latent either.
        """
        try:
            return self.base.predict(op)
        except CalibrationError:
            parts = latent_by_latent(op)
            if not parts:
                raise
        known = [(self.base.predict(part), count) for part, count in parts]
        said = replace(known[0][0].provenance, kind="derived", extrapolated=True)
        return Prediction(
            sum(count * one.mean_s for one, count in known),
            sum(count * one.low_s for one, count in known),
            sum(count * one.high_s for one, count in known),
            said,
        )

    def noise(self, op: Op) -> Sequence[float]:
        """Relative times seen; of a long chunk those of its latents would average out: none."""
        try:
            return self.base.noise(op)
        except CalibrationError:
            return ()

    def between(self, op: Op) -> float:
        """What runs differ by, of a long chunk as of a short one."""
        try:
            return self.base.between(op)
        except CalibrationError:
            return self.base.between(latent_by_latent(op)[0][0])

    def host(self, rank: int) -> HostState:
        """That of the model for short chunks."""
        return self.base.host(rank)


def latent_by_latent(op: Op) -> tuple[tuple[Op, int], ...]:
    """The short chunks that *op* of the VAE amounts to, each with their number; else nothing."""
    if not isinstance(op, VaeEncode | VaeDecode):
        return ()
    beginning = FIRST if op.first else 1
    if op.latents <= beginning:
        return ()
    parts: tuple[tuple[Op, int], ...] = ((replace(op, latents=beginning), 1),)
    return *parts, (replace(op, latents=1, first=False), op.latents - beginning)
