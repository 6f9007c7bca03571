"""How long may a pass of an eager implementation take, as far as published figures can tell?

A block is launched kernel by kernel by the host, which takes a time of its own, and computes. The
launch may take longer at few tokens, where kernels are too short to hide it. Few figures identify
few parameters, so these forms have fewer than those for raw times.
"""

from collections.abc import Sequence

from streamtwin.calibrate.terms import Terms
from streamtwin.core import catalog
from streamtwin.core.ops import DitPass, Op

KNOBS = 24
"""Candidates for a floor, besides none."""

FEW_TOKENS, MANY_TOKENS = 1024, 1560
"""S at 512x512 and 480x832, the resolutions of the published figures; between them the launch is
interpolated, beyond them it stays."""


def launch_linear(op: Op, _tag: str, knob: float = 0.0) -> Terms:
    """A pass, a launch a block, and FLOPs at one rate; at the least the knob's FLOPs."""
    assert isinstance(op, DitPass)
    return {"pass": 1.0, "blocks": op.blocks, "block_flops": op.blocks * max(knob, _flops(op))}


def launch_by_tokens(op: Op, _tag: str, knob: float = 0.0) -> Terms:
    """As linear, with a launch of its own at few and at many tokens.

    Alone among the forms it may fall where tokens grow; the fit refuses parameters by which it does.
    """
    assert isinstance(op, DitPass)
    return {
        "pass": 1.0,
        f"blocks, {FEW_TOKENS} tokens": op.blocks * (1.0 - _many(op)),
        f"blocks, {MANY_TOKENS} tokens": op.blocks * _many(op),
        "block_flops": op.blocks * max(knob, _flops(op)),
    }


def one_row_by_tokens(op: Op, _tag: str, *_knobs: float) -> Terms:
    """A pass, and a time a block that is longer at many tokens, whatever it computes."""
    assert isinstance(op, DitPass)
    return {"pass": 1.0, "blocks": op.blocks, "blocks, more tokens": op.blocks * _many(op)}


def _many(op: DitPass) -> float:
    """0 at few tokens, 1 at many."""
    return min(1.0, max(0.0, (op.tokens - FEW_TOKENS) / (MANY_TOKENS - FEW_TOKENS)))


def _flops(op: DitPass) -> float:
    queries = op.chunk_latents * op.tokens
    return op.rows * catalog.model(op.model).block_flops(queries, int(op.kv_tokens))


def floor_knobs(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """No floor, or one between half of what a block computes at the least, and the most for one row."""
    flops = [_flops(op) / op.rows for op in ops if isinstance(op, DitPass)]
    least, most = min(flops) / 2, max(flops)
    return [(0.0,), *((least * (most / least) ** (i / KNOBS),) for i in range(KNOBS + 1))]
