"""What the kernel tests share: one small model, one small VAE, and how far results may differ."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from streamtwin.core.specs import ModelSpec, Resolution, VaeSpec
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow, StageCache, TextCache
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.vae import build_decoder, build_encoder
from streamtwin.kernels.weights import build_dit

SPEC = ModelSpec(
    "small", blocks=4, heads=2, ffn_dim=96, head_dim=32, freq_dim=32, text_len=6, text_dim=24
)
RESOLUTION = Resolution(32, 48)
VAE = VaeSpec("small", base_channels=4)
WINDOW = Window(6, 3)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_stage(blocks: range = range(SPEC.blocks), **changes: Any) -> DiTStage:
    """Blocks of the small model: make_stage(range(2), heads_out=False)."""
    options = {"embeds": True, "heads_out": True, "seed": 1} | changes
    return build_dit(SPEC, RESOLUTION, blocks, **options)


def latents(batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    return normal(batch, frames, SPEC.latent_channels, *RESOLUTION.latent, seed=seed)


def error(value: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference as a share of the largest reference value."""
    return float((value - reference).abs().max() / reference.abs().max())


def vary(module: Any) -> Any:
    """Norm gains are built as ones: let every gain matter."""
    for seed, (name, parameter) in enumerate(module.named_parameters()):
        if name.endswith("gamma"):
            parameter.add_(0.3 * normal(*parameter.shape, seed=seed))
    return module


context = normal(SPEC.text_len, SPEC.text_dim, seed=5)
encoder = vary(build_encoder(VAE, seed=1))
decoder = vary(build_decoder(VAE, seed=1))
decoder.decoder.head[2].weight.mul_(0.3)  # keeps frames within -1..1, so clamping hides nothing


class Session(NamedTuple):
    """What a pass needs of one session: its keys and values, and its prompt's."""

    cache: StageCache
    text: TextCache


def new_session(
    stage: DiTStage, prompt: Tensor, kv_rows: int = 1, window: Window = WINDOW
) -> Session:
    """A session of *stage* that has not begun, under the embedding *prompt*."""
    return Session(stage.new_cache(kv_rows, window), stage.read_text(prompt))


def one_session(
    stage: DiTStage, x: Tensor, timesteps: Tensor, rows: Sequence[PassRow], session: Session
) -> Tensor:
    """A pass of rows that all belong to *session*."""
    count = len(rows)
    return stage(x, timesteps, rows, [session.cache] * count, [session.text] * count)
