"""What does an item carry from stage to stage, and what does a stage keep of a session?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from streamtwin.kernels.cache import StageCache, TextCache
from streamtwin.kernels.refresh import SinkRefresh
from streamtwin.kernels.vae_layers import VaeState


@dataclass(slots=True)
class Work:
    """The tensors of an item under way.

    `hidden` is [B, T' S, d] between stages and None before the first; `latents` [B, T', C, h, w]
    are the noisy latents of each row, after the last stage those of its next step (clean in a
    row that has finished); `timesteps` has one number a row.
    """

    latents: Tensor
    timesteps: tuple[int, ...]
    hidden: Tensor | None = None

    def results(self, positions: Sequence[int]) -> "Work":
        """The rows at *positions* alone, and of these the latents alone."""
        chosen = list(positions)
        return Work(self.latents[chosen], tuple(self.timesteps[i] for i in chosen))


@dataclass(slots=True)
class SessionState:
    """Everything that belongs to one session on one rank."""

    session: int
    cache: StageCache
    encoder: VaeState | None
    decoder: VaeState | None
    sinks: SinkRefresh
    texts: dict[str, TextCache] = field(default_factory=dict)
    """Keys and values of the prompts in use: two while a change of prompt is under way."""
