"""How much arithmetic is an operation, and how many bytes must it move at least?

FLOPs are those of matrix products and convolutions, 2 a multiply-add. Bytes are what passes
between memory and the chip when everything is read and written once: weights, K and V, and what
goes into and out of each block or convolution. An implementation moves more, never less.
"""

from functools import cache

from streamtwin.core import catalog
from streamtwin.core.ops import DitPass, Op, VaeDecode, VaeEncode
from streamtwin.core.specs import ModelSpec, Resolution, VaeSpec
from streamtwin.core.vae_flops import decode_flops, encode_flops
from streamtwin.core.vae_layout import Half, decoder_half, encoder_half


def flops_of(op: Op) -> float | None:
    """FLOPs of *op*; None where it computes nothing, or where they are not counted.

    The ends of a model are left out, as in the reference's figures. A stream's first chunk is
    not counted for the VAE, whose first latent is of one frame instead of four.
    """
    match op:
        case DitPass():
            queries = op.chunk_latents * op.tokens
            flops = _model(op.model).block_flops(queries, round(op.kv_tokens))
            return op.rows * op.blocks * flops or None
        case VaeEncode() | VaeDecode():
            count = encode_flops if isinstance(op, VaeEncode) else decode_flops
            size = Resolution(op.height, op.width)
            return None if op.first else count(_vae(op.vae), size, op.latents)
        case _:
            return None


def bytes_of(op: Op, itemsize: int) -> float | None:
    """Bytes that *op* moves at least, of numbers of *itemsize* bytes; None as for `flops_of`."""
    match op:
        case DitPass():
            return op.blocks * _block_bytes(_model(op.model), op, itemsize) or None
        case VaeEncode() | VaeDecode():
            half = encoder_half if isinstance(op, VaeEncode) else decoder_half
            return None if op.first else _half_bytes(half(_vae(op.vae)), op, itemsize)
        case _:
            return None


def _block_bytes(model: ModelSpec, op: DitPass, itemsize: int) -> float:
    """Weights and text once; of each row its hidden state in and out, K and V read and written."""
    queries = op.chunk_latents * op.tokens
    row = 2 * queries * model.dim + 2 * (op.kv_tokens + queries) * model.dim
    once = model.block_parameters * itemsize + model.cross_kv_bytes(itemsize)
    return once + op.rows * row * itemsize


def _half_bytes(half: Half, op: VaeEncode | VaeDecode, itemsize: int) -> float:
    """Weights once; of each convolution what goes in and comes out, at the size that it makes."""
    planes = sum(
        (conv.channels + conv.out)
        * conv.frames
        * (op.height // conv.scale)
        * (op.width // conv.scale)
        for conv in half.convs
    )
    return float(itemsize * (half.parameters + op.latents * planes))


@cache
def _model(name: str) -> ModelSpec:
    return catalog.model(name)


@cache
def _vae(name: str) -> VaeSpec:
    return catalog.vae(name)
