"""Of how much of what does an operation consist? FLOPs, bytes and pixels, from the catalogue."""

from collections.abc import Callable
from functools import cache

from streamtwin.core import catalog
from streamtwin.core.ops import DitPass, VaeDecode, VaeEncode
from streamtwin.core.row_costs import ITEMSIZE
from streamtwin.core.specs import ModelSpec, Resolution, VaeSpec
from streamtwin.core.vae_flops import decode_flops, encode_flops

Terms = dict[str, float]
"""Amounts by name; a form's prediction is the sum of each amount times its seconds a unit."""

TermsOf = Callable[..., Terms]
"""(operation, tag, *knobs) -> its terms."""


@cache
def model_of(name: str) -> ModelSpec:
    """The catalogue's entry, read once: a fit asks for it a thousand times."""
    return catalog.model(name)


@cache
def vae_of(name: str) -> VaeSpec:
    """Likewise, of a VAE."""
    return catalog.vae(name)


def block_flops(op: DitPass) -> float:
    """FLOPs of one block over all rows of *op*."""
    return model_of(op.model).block_flops(op.query_tokens, int(op.kv_tokens))


def block_bytes(op: DitPass) -> float:
    """Bytes that one block moves for all rows of *op*.

    Its weights once, each row's K and V of both attentions, and the hidden state in and out. Of
    bfloat16: numbers of another size scale all of them alike, which a bandwidth takes up.
    """
    model = model_of(op.model)
    kv = op.rows * (2 * op.kv_tokens * model.dim * ITEMSIZE + model.cross_kv_bytes(ITEMSIZE))
    activations = 2 * op.query_tokens * model.dim * ITEMSIZE
    return float(model.block_parameters * ITEMSIZE + kv + activations)


@cache
def latent_flops(op: VaeEncode | VaeDecode) -> float:
    """FLOPs of one latent of *op* in the midst of a stream."""
    count = encode_flops if isinstance(op, VaeEncode) else decode_flops
    return count(vae_of(op.vae), Resolution(op.height, op.width), 1)


def pixel_bytes(op: VaeEncode | VaeDecode) -> float:
    """Bytes of the 8-bit frames of *op*: 4 a latent, of a stream's first latent one."""
    frames = 4 * op.latents - 3 * op.first
    return float(3 * op.height * op.width * frames)
