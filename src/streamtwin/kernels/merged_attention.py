"""How do results of attention over parts of the keys become the result over all of them?

Attention over a set of keys is a mean of values, weighted by exp(score). Of a part of the keys,
keep its mean o_i and the logarithm of its total weight l_i = log(sum(exp(scores))): then over all
parts l = log(sum(exp(l_i))) and o = sum(exp(l_i - l) * o_i), exactly, in any order (the online
softmax of Milakov and Gimelshein 2018, applied to blocks of keys as in flash attention).
"""

import torch
from torch import Tensor

FLASH_CARD_DTYPES = (torch.float16, torch.bfloat16)
"""What the flash kernels of CUDA cards compute in."""

FLASH_CARD_HEAD_DIM = 256
"""Widest head of the flash kernels of CUDA cards, which also want a multiple of 8."""


def partial_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of q [B, L, heads, head_dim] over a part of the keys and values [B, K, heads, ...].

    Returns the mean and the logarithm of the total weight in one tensor, so that they travel in
    one message: [B, L, heads, head_dim + c]; the c last entries of q's dtype hold the bits of one
    float32 (of one float64 in float64).
    """
    out, weight = _with_weight(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    bits = weight.transpose(1, 2)[..., None].contiguous().view(q.dtype)
    return torch.cat([out.transpose(1, 2), bits], dim=-1)


def merge(parts: Tensor) -> Tensor:
    """Join the results of all parts, [parts, B, L, heads, head_dim + c] -> [B, L, heads, head_dim].

    Sums are taken in float32 (float64), in the order of the parts.
    """
    precise = _weight_dtype(parts.dtype)
    extra = precise.itemsize // parts.dtype.itemsize
    means, bits = parts[..., :-extra], parts[..., -extra:]
    weights = bits.contiguous().view(precise)
    shares = (weights - weights.logsumexp(0)).exp()
    return (shares * means.to(precise)).sum(0).to(parts.dtype)


def _weight_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _with_weight(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B, heads, L, head_dim] and log of the total weight [B, heads, L] of one part.

    `scaled_dot_product_attention` computes the weight and does not return it, so the kernels
    behind it are called by name, as torch's own context parallelism does.
    """
    if q.device.type == "cpu":
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, weight = flash(q, k, v)
        return out, weight
    if _card_flash(q):
        out, weight = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[:2]
        return out, weight
    return plain_attention(q, k, v)


def _card_flash(q: Tensor) -> bool:
    """Whether the flash kernels of a CUDA card take *q*: they exist from compute capability 8."""
    width = q.shape[-1]
    fits = width <= FLASH_CARD_HEAD_DIM and width % 8 == 0 and q.dtype in FLASH_CARD_DTYPES
    return fits and q.is_cuda and torch.cuda.get_device_capability(q.device) >= (8, 0)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The same two results in plain operations, where no kernel gives them; holds all scores."""
    precise = _weight_dtype(q.dtype)
    scores = (q.to(precise) @ k.to(precise).mT) * q.shape[-1] ** -0.5
    weight = scores.logsumexp(-1)
    out = (scores - weight[..., None]).exp() @ v.to(precise)
    return out.to(q.dtype), weight
