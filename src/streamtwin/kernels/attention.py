"""Which implementation computes an attention?

All take [B, L, heads, head_dim] without a mask. PyTorch's own implementations read the strided
views that a KV cache gives without copying them: only the last dimension must be contiguous.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from streamtwin.core.errors import UserError

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Non-causal attention over q, k, v [B, L, heads, head_dim]; returns [B, L, heads * head_dim]."""

FA3 = "flash_attn_interface"
"""Module of FlashAttention 3, which is built from its sources for Hopper cards."""

HOPPER = (9, 0)
"""Compute capability from which cuDNN's attention outruns PyTorch's FlashAttention 2.

At head_dim 128 and 8k tokens an H100 does 600 TFLOP/s with cuDNN, 646 with FlashAttention 3 and
370 with FlashAttention 2 (figures of the FlashAttention 3 paper).
"""

SDPA = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
"""Implementations that come with PyTorch."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as PyTorch dispatches it; see `Attend`."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def available_backends(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """Names of what can compute attention there, the fastest first.

    A CPU has one of PyTorch's; which one a card takes for a shape that the first cannot serve is
    the next in the list.
    """
    if device.type != "cuda":
        return ("cpu",)
    half = dtype in (torch.bfloat16, torch.float16)
    capability = torch.cuda.get_device_capability(device)
    # FlashAttention 3 is written for Hopper and runs on nothing newer.
    fa3 = capability[0] == HOPPER[0] and find_spec(FA3) is not None
    return preferred(half=half, hopper=capability >= HOPPER, fa3=fa3)


def chosen_backends(choice: str, device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """The one backend *choice*, or with "auto" all that are there in order.

    Raises:
        UserError: the choice is not there; names those that are.
    """
    there = available_backends(device, dtype)
    if choice == "auto":
        return there
    there = ("flash", "math") if device.type != "cuda" else there
    if choice not in there:
        raise UserError(
            f"attention {choice!r} is not there on {device.type} in "
            f"{str(dtype).removeprefix('torch.')}: choose auto or one of {', '.join(there)}"
        )
    return (choice,)


def preferred(*, half: bool, hopper: bool, fa3: bool) -> tuple[str, ...]:
    """Backends of a card in order: for *half* precision, on *hopper* or newer, with *fa3* there."""
    if not half:
        return ("efficient", "math")
    fast = ("cudnn", "flash") if hopper else ("flash", "cudnn")
    return (("fa3",) if fa3 else ()) + fast + ("efficient", "math")


def implementation(backends: Sequence[str]) -> Attend:
    """The function for the first of *backends*."""
    return _fa3() if backends[0] == "fa3" else attend


@contextmanager
def priority(backends: Sequence[str]) -> Iterator[None]:
    """Within the block, let PyTorch take the first of *backends* that serves a shape."""
    order = [SDPA[name] for name in backends if name in SDPA]
    if not order:
        yield
        return
    with sdpa_kernel(order, set_priority=True):
        yield


def _fa3() -> Attend:
    compute = import_module(FA3).flash_attn_func

    def fa3(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """FlashAttention 3; see `Attend`."""
        out = compute(q, k, v)
        # Earlier releases return the softmax's sums beside the result.
        y: Tensor = out[0] if isinstance(out, tuple) else out
        return y.flatten(2)

    return fa3
