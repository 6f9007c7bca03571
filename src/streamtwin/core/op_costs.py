"""How much arithmetic is an operation, and how many bytes must it move at least?

FLOPs are those of matrix products and convolutions, 2 a multiply-add. Bytes are what passes
between memory and the chip when everything is read and written once: weights, K and V, and what
goes into and out of each block or convolution. An implementation moves more, never less.
"""

from streamtwin.core import catalog
from streamtwin.core.ops import DitPass, Op, VaeDecode, VaeEncode
from streamtwin.core.specs import Resolution
from streamtwin.core.vae_flops import decode_flops, encode_flops
from streamtwin.core.vae_layout import Half, decoder_half, encoder_half


def flops_of(op: Op) -> float | None:
    """FLOPs of *op*; None where it computes nothing, or where they are not counted.

    The ends of a model are left out, as in the reference's figures. A stream's first chunk is
    not counted for the VAE, whose first latent is of one frame instead of four.
    """
    match op:
        case DitPass():
            return op.blocks * block_flops(op) or None
        case VaeEncode() | VaeDecode():
            count = encode_flops if isinstance(op, VaeEncode) else decode_flops
            size = Resolution(op.height, op.width)
            return None if op.first else count(catalog.vae(op.vae), size, op.latents)
        case _:
            return None


def bytes_of(op: Op, itemsize: int) -> float | None:
    """Bytes that *op* moves at least, of numbers of *itemsize* bytes; None as for `flops_of`."""
    match op:
        case DitPass():
            return op.blocks * block_bytes(op, itemsize) or None
        case VaeEncode() | VaeDecode():
            half = encoder_half if isinstance(op, VaeEncode) else decoder_half
            return None if op.first else _half_bytes(half(catalog.vae(op.vae)), op, itemsize)
        case _:
            return None


def block_flops(op: DitPass) -> float:
    """FLOPs of one block over all rows of *op*."""
    return catalog.model(op.model).block_flops(op.query_tokens, round(op.kv_tokens))


def block_bytes(op: DitPass, itemsize: int) -> float:
    """Bytes that one block moves at least for all rows of *op*.

    Weights and text once; of each row its hidden state in and out, K and V read and written.
    """
    model, queries = catalog.model(op.model), op.chunk_latents * op.tokens
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
