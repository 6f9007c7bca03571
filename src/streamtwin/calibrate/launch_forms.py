"""How long may a pass of an eager implementation take, as far as published figures can tell?

A block is launched kernel by kernel by the host, which takes a time of its own, and computes. The
launch may take longer at few tokens, where kernels are too short to hide it. Few figures identify
few parameters, so these forms have fewer than those for raw times.

All figures are of full windows. Whether a pass over a window that still fills is shorter is not
known, as launches do not get fewer; it is taken to be as long as over the full one.
"""

from collections.abc import Sequence
from dataclasses import replace

from streamtwin.calibrate.terms import Terms
from streamtwin.core.op_costs import block_flops
from streamtwin.core.ops import DitPass, Op
from streamtwin.core.row_costs import WINDOW

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
    In between the launch follows the FLOPs of a row, so that the sum rises all the way if it rises
    from end to end.
    """
    assert isinstance(op, DitPass)
    row = [max(knob, _row_flops(op, tokens)) for tokens in (FEW_TOKENS, op.tokens, MANY_TOKENS)]
    many = min(1.0, max(0.0, (row[1] - row[0]) / (row[2] - row[0]))) if row[2] > row[0] else 1.0
    return {
        "pass": 1.0,
        f"blocks, {FEW_TOKENS} tokens": op.blocks * (1.0 - many),
        f"blocks, {MANY_TOKENS} tokens": op.blocks * many,
        "block_flops": op.blocks * max(knob, _flops(op)),
    }


def one_row_by_tokens(op: Op, _tag: str, *_knobs: float) -> Terms:
    """A pass, and a time a block that is longer at many tokens; more work takes as much more.

    For figures of passes over one row only: what of such a pass is launch and what arithmetic they
    do not tell, so that more rows or frames are taken to be all arithmetic.
    """
    assert isinstance(op, DitPass)
    times = op.blocks * max(1.0, _flops(op) / _row_flops(op, op.tokens))
    few, many = (_row_flops(op, tokens) for tokens in (FEW_TOKENS, MANY_TOKENS))
    more = max(0.0, (_row_flops(op, op.tokens) - few) / (many - few))
    return {"pass": 1.0, "blocks": times, "blocks, more tokens": times * more}


def floor_knobs(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """No floor, or one between half of what a block computes at the least, and the most for one row."""
    flops = [_flops(op) / op.rows for op in ops if isinstance(op, DitPass)]
    least, most = min(flops) / 2, max(flops)
    return [(0.0,), *((least * (most / least) ** (i / KNOBS),) for i in range(KNOBS + 1))]


def _flops(op: DitPass) -> float:
    """FLOPs of one block over all rows, each attending the full window at the least."""
    return block_flops(replace(op, kv_tokens=max(op.kv_tokens, WINDOW * op.tokens)))


def _row_flops(op: DitPass, tokens: int) -> float:
    """FLOPs of one block of the same model for one row of one frame of so many tokens."""
    full = WINDOW * tokens
    return block_flops(replace(op, rows=1, chunk_latents=1, tokens=tokens, kv_tokens=full))
