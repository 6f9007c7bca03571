"""How do pixel frames, latent frames and chunks of one stream number each other?

A Wan-type VAE turns 1 + 4 n pixel frames into 1 + n latents, so the first chunk of a stream
carries one pixel frame and one latent more than the others.
"""

from dataclasses import dataclass

from streamtwin.core.specs import TIME_STRIDE


@dataclass(frozen=True, slots=True)
class ChunkShape:
    """Numbering of a stream whose chunks carry `latents` (T') latent frames."""

    latents: int

    def latents_of(self, ordinal: int) -> int:
        """Latent frames in the chunk number *ordinal* of the stream."""
        return self.latents + 1 if ordinal == 0 else self.latents

    def first_latent(self, ordinal: int) -> int:
        """Number of the first latent frame of that chunk."""
        return 0 if ordinal == 0 else 1 + ordinal * self.latents

    def frames_of(self, ordinal: int) -> int:
        """Pixel frames in that chunk."""
        return TIME_STRIDE * self.latents + (1 if ordinal == 0 else 0)

    def first_frame(self, ordinal: int) -> int:
        """Number of the first pixel frame of that chunk."""
        return 0 if ordinal == 0 else 1 + TIME_STRIDE * self.latents * ordinal

    def last_frame(self, ordinal: int) -> int:
        """Number of the last pixel frame of that chunk."""
        return TIME_STRIDE * self.latents * (ordinal + 1)

    def chunks_in(self, frames: int) -> int:
        """Whole chunks in the first *frames* pixel frames of a stream."""
        return max(0, (frames - 1) // (TIME_STRIDE * self.latents))
