"""What noise level has a timestep, and how do noisy and clean latents turn into each other?

Flow matching as Wan 2.1 and its distilled streaming variants use it: x_t = (1 - s) x0 + s eps,
the model predicts the velocity eps - x0, timesteps are 1000 s on a schedule shifted by 8. Lookups
run on the host; draws are keyed by integers, so every deployment of a stream sees the same noise.
"""

from bisect import bisect_left

import torch
from torch import Tensor

from streamtwin.kernels.seeding import stable_seed
from streamtwin.kernels.upload import upload

SHIFT = 8.0
ENTRIES = 1000

SIGMAS: tuple[float, ...] = tuple(
    SHIFT * (i / ENTRIES) / (1 + (SHIFT - 1) * (i / ENTRIES)) for i in range(1, ENTRIES + 1)
)
"""Noise levels of the schedule, rising to 1: 8u / (1 + 7u) for u = 0.001 .. 1."""


def sigma(timestep: float) -> float:
    """Noise level of the schedule entry nearest to *timestep* (0..1000).

    Raises:
        ValueError: the timestep lies outside 0..1000.
    """
    if not 0 <= timestep <= ENTRIES:
        raise ValueError(f"timestep = {timestep}: choose one in 0..{ENTRIES}")
    target = timestep / ENTRIES
    right = min(bisect_left(SIGMAS, target), ENTRIES - 1)
    left = max(right - 1, 0)
    return min(SIGMAS[right], SIGMAS[left], key=lambda s: abs(s - target))


def mix(latents: Tensor, noise: Tensor, scale: float) -> Tensor:
    """Input of the first step: scale * noise + (1 - scale) * latents."""
    return torch.lerp(latents, noise, scale)


def denoise(x_t: Tensor, velocity: Tensor, sigma: float | Tensor) -> Tensor:
    """Clean latents x0 = x_t - sigma * velocity, in the dtype of *x_t*.

    A tensor *sigma* broadcasts, so that rows at different steps share one call. Computed in at
    least float32: the difference of two close half-precision numbers keeps few digits.
    """
    return (x_t.float() - sigma * velocity.float()).to(x_t.dtype)


def renoise(x0: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """Noisy latents of the next step: (1 - sigma) * x0 + sigma * noise."""
    clean = x0.float()
    return (clean + sigma * (noise.float() - clean)).to(x0.dtype)


def noise(
    shape: tuple[int, ...],
    *,
    seed: int,
    session: int,
    chunk: int,
    step: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal draw that the four integers fix, whatever was drawn before or elsewhere.

    Always drawn on the host in float32, so that the values do not depend on the device.
    """
    key = stable_seed("noise", seed, session, chunk, step)
    draw = torch.randn(shape, generator=torch.Generator().manual_seed(key)).to(dtype)
    return upload(draw, torch.device(device))
