"""Which formulas may the time of encoding and decoding follow?"""

from streamtwin.calibrate.terms import Terms, latent_flops, pixel_bytes
from streamtwin.core.ops import Op, VaeDecode, VaeEncode


def table(op: Op, _tag: str, *_knobs: float) -> Terms:
    """Each exact operation has a time of its own."""
    assert isinstance(op, VaeEncode | VaeDecode)
    first = ", first" if op.first else ""
    return {f"{op.height} x {op.width}, latents {op.latents}{first}": 1.0}


def convolutions(op: Op, _tag: str, *_knobs: float) -> Terms:
    """A call costs a fixed time, its FLOPs and its pixels.

    A stream's first latent is one frame instead of four, so its FLOPs have a share of their own.
    """
    assert isinstance(op, VaeEncode | VaeDecode)
    flops = latent_flops(op)
    return {
        "call": 1.0,
        "flops": (op.latents - op.first) * flops,
        "first_flops": op.first * flops,
        "pixel_bytes": pixel_bytes(op),
    }
