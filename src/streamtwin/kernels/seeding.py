"""Which random weights does a parameter get, whatever stage holds it?

A parameter's values depend on the seed and on its name in the checkpoint, never on which other
parameters are built or in what order. So any partition of a model over ranks is the same model.
Values are drawn in float32 on the target device: a CPU and a GPU draw different numbers, and a
narrower dtype holds the rounded float32 draw.
"""

import hashlib

import torch
from torch import Tensor, nn

BIAS_STD = 0.02
"""Small enough to keep activations O(1), large enough that a lost bias shows in a comparison."""


def stable_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on *parts* alone: the same in every process and version."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _std(name: str, parameter: Tensor) -> float | None:
    """Standard deviation of the draw, or None where the parameter starts at one (norm gains)."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "bias":
        return BIAS_STD
    if leaf == "modulation":
        return float(parameter.shape[-1] ** -0.5)
    if leaf == "gamma" or parameter.ndim == 1:
        return None
    # Variance-preserving: fan-in is everything but the output channels.
    return float((parameter.numel() / parameter.shape[0]) ** -0.5)


@torch.no_grad()
def fill(parameter: Tensor, name: str, seed: int) -> None:
    """Overwrite *parameter* with the values that *seed* and its global *name* stand for."""
    std = _std(name, parameter)
    if std is None:
        parameter.fill_(1.0)
        return
    generator = torch.Generator(device=parameter.device).manual_seed(stable_seed(seed, name))
    draw = torch.randn(parameter.shape, generator=generator, device=parameter.device)
    parameter.copy_(draw.mul_(std))


def give_storage(module: nn.Module, device: torch.device | str, dtype: torch.dtype) -> None:
    """Give a module built on the meta device uninitialised tensors; those of floats are *dtype*.

    As `module.to(dtype).to_empty(device=device)`, which takes half a second and 30 MB in every
    process: there torch works strides out symbolically, and loads its algebra package for it.
    """

    def empty(tensor: Tensor) -> Tensor:
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=kind, device=device)

    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(empty(parameter), parameter.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, empty(buffer))


def materialise(
    module: nn.Module, *, seed: int, device: torch.device | str, dtype: torch.dtype
) -> None:
    """Give a module built on the meta device its storage and weights; ready for inference.

    The module's state-dict keys must be the checkpoint's global names.
    """
    give_storage(module, device, dtype)
    module.eval().requires_grad_(False)
    for name, parameter in module.named_parameters():
        fill(parameter, name, seed)
