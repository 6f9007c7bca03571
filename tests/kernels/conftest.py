"""What the kernel tests share: one small model and a way to build a stage of it."""

from typing import Any, Protocol

import pytest
import torch

from streamtwin.core.specs import ModelSpec, Resolution, VaeSpec
from streamtwin.kernels.dit import DiTStage, build_dit
from streamtwin.kernels.vae import VaeDecoder, VaeEncoder, build_decoder, build_encoder

SPEC = ModelSpec(
    "small", blocks=4, heads=2, ffn_dim=96, head_dim=32, freq_dim=32, text_len=6, text_dim=24
)
RESOLUTION = Resolution(32, 48)
VAE = VaeSpec("small", base_channels=4)


class MakeStage(Protocol):
    def __call__(self, blocks: range = ..., **changes: Any) -> DiTStage: ...


@pytest.fixture
def make_stage() -> MakeStage:
    """Build blocks of the small model: make_stage(range(2), heads_out=False)."""

    def make(blocks: range = range(SPEC.blocks), **changes: Any) -> DiTStage:
        options = {"embeds": True, "heads_out": True, "seed": 1} | changes
        return build_dit(SPEC, RESOLUTION, blocks, **options)

    return make


@pytest.fixture
def context() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(SPEC.text_len, SPEC.text_dim, generator=generator)


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest difference as a share of the largest reference value."""
    return float((value - reference).abs().max() / reference.abs().max())


@pytest.fixture
def error() -> Any:
    return relative_error


@pytest.fixture
def latents() -> Any:
    """latents(batch, frames, seed): normal latents at the small resolution."""

    def draw(batch: int, frames: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, frames, SPEC.latent_channels, *RESOLUTION.latent)
        return torch.randn(shape, generator=generator)

    return draw


@pytest.fixture(scope="session")
def encoder() -> VaeEncoder:
    return vary(build_encoder(VAE, seed=1))


@pytest.fixture(scope="session")
def decoder() -> VaeDecoder:
    built = vary(build_decoder(VAE, seed=1))
    built.decoder.head[2].weight.mul_(0.3)  # keeps frames within -1..1, so clamping hides nothing
    return built


def vary(module):
    """Norm gains are built as ones: let every gain matter."""
    torch.manual_seed(2)
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return module
