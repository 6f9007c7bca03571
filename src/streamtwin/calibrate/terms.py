"""Of how much of what does an operation of the VAE consist? FLOPs and pixels, from the catalogue."""

from collections.abc import Callable
from functools import cache

from streamtwin.core import catalog
from streamtwin.core.ops import VaeDecode, VaeEncode
from streamtwin.core.specs import Resolution
from streamtwin.core.vae_flops import decode_flops, encode_flops

Terms = dict[str, float]
"""Amounts by name; a form's prediction is the sum of each amount times its seconds a unit."""

TermsOf = Callable[..., Terms]
"""(operation, tag, *knobs) -> its terms."""


@cache
def latent_flops(op: VaeEncode | VaeDecode) -> float:
    """FLOPs of one latent of *op* in the midst of a stream."""
    count = encode_flops if isinstance(op, VaeEncode) else decode_flops
    return count(catalog.vae(op.vae), Resolution(op.height, op.width), 1)


def pixel_bytes(op: VaeEncode | VaeDecode) -> float:
    """Bytes of the 8-bit frames of *op*: 4 a latent, of a stream's first latent one."""
    frames = 4 * op.latents - 3 * op.first
    return float(3 * op.height * op.width * frames)
