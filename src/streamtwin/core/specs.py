"""How large is a model or a VAE, and what do its parts weigh?

Sizes follow the Wan 2.1 family: a causal diffusion transformer over latent video, and a
causal 3D-convolutional VAE with strides 4 x 8 x 8.
"""

from dataclasses import dataclass
from typing import Literal

from streamtwin.core.errors import ScenarioError

TIME_STRIDE = 4
"""Pixel frames per latent frame (Wan 2.1 VAE)."""

SPACE_STRIDE = 8
"""Pixels per latent cell along height and width (Wan 2.1 VAE)."""


MAX_SIDE = 8192
"""Pixels of the longest side that is taken: 8K video."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Dimensions of a Causal-DiT. `dim` is `heads * head_dim`; the patch is 1 x 2 x 2."""

    name: str
    blocks: int
    heads: int
    ffn_dim: int
    head_dim: int = 128
    freq_dim: int = 256
    text_len: int = 512
    text_dim: int = 4096
    latent_channels: int = 16
    eps: float = 1e-6
    patch: int = 2
    """Latent cells per token along height and along width."""

    @property
    def dim(self) -> int:
        """Width of the hidden state."""
        return self.heads * self.head_dim

    @property
    def block_parameters(self) -> int:
        """Parameters of one block: two attentions with q/k norms, FFN, affine norm, modulation."""
        d, f = self.dim, self.ffn_dim
        return 2 * (4 * (d * d + d) + 2 * d) + (2 * d * f + f + d) + 2 * d + 6 * d

    @property
    def parameters(self) -> int:
        """Parameters of the whole model, embeddings and head included."""
        d, c = self.dim, self.latent_channels
        patch_cells = c * self.patch * self.patch
        text = self.text_dim * d + d + d * d + d
        time = self.freq_dim * d + d + d * d + d + 6 * d * d + 6 * d
        ends = (patch_cells * d + d) + (d * patch_cells + patch_cells + 2 * d)
        return self.blocks * self.block_parameters + text + time + ends

    def block_flops(self, queries: int, kv_tokens: int) -> float:
        """FLOPs of one block for one row of *queries* tokens that attend *kv_tokens*.

        Counts the matrix products only: q, k, v, o; self-attention; cross-attention's q, o and
        its attention; FFN. Lq * (12 d^2 + 4 d f + 4 d (K + text_len)).
        """
        d = self.dim
        per_token = 12 * d * d + 4 * d * self.ffn_dim + 4 * d * (kv_tokens + self.text_len)
        return float(queries * per_token)

    def kv_bytes(self, frames: int, tokens: int, itemsize: int) -> int:
        """Bytes of self-attention K and V for one block and one row of *frames* frames."""
        return 2 * frames * tokens * self.dim * itemsize

    def cross_kv_bytes(self, itemsize: int) -> int:
        """Bytes of cross-attention K and V for one block (shared by all rows)."""
        return 2 * self.text_len * self.dim * itemsize


@dataclass(frozen=True, slots=True)
class VaeSpec:
    """Dimensions of a Stream-VAE: Wan 2.1's causal 3D VAE with a free base width.

    The encoder is always Wan's. `decoder` chooses Wan's or the small TAEHV, which decodes the
    same latents; `taehv_channels` are the widths of its three levels and of its last layer.
    """

    name: str
    base_channels: int
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    encoder_res_blocks: int = 2
    decoder_res_blocks: int = 3
    temporal_down: tuple[bool, ...] = (False, True, True)
    decoder: Literal["wan", "taehv"] = "wan"
    taehv_channels: tuple[int, int, int, int] = (256, 128, 64, 64)
    parameters: int | None = None
    """Known total, where the catalogue states one; checked against the built module."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Height and width of the video in pixels, and what they become in latent space."""

    height: int
    width: int

    def __post_init__(self) -> None:
        cell = SPACE_STRIDE * 2
        for name, value in (("height", self.height), ("width", self.width)):
            if not 0 < value <= MAX_SIDE or value % cell:
                raise ScenarioError(
                    f"resolution: {name} = {value} must be a multiple of {cell} pixels "
                    f"(VAE stride {SPACE_STRIDE} times patch 2) from {cell} to {MAX_SIDE}"
                )

    @property
    def latent(self) -> tuple[int, int]:
        """Height and width of the latent grid."""
        return self.height // SPACE_STRIDE, self.width // SPACE_STRIDE

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the token grid of one latent frame."""
        return self.height // (SPACE_STRIDE * 2), self.width // (SPACE_STRIDE * 2)

    @property
    def tokens(self) -> int:
        """S: tokens per latent frame."""
        rows, columns = self.grid
        return rows * columns

    def latent_bytes(self, channels: int, itemsize: int) -> int:
        """Bytes of one latent frame."""
        rows, columns = self.latent
        return channels * rows * columns * itemsize
