"""Which formulas may the time of a DiT pass follow?

All begin with what a micro-step costs besides its blocks, and differ in what a block costs.
"""

from collections.abc import Sequence
from itertools import product
from statistics import median

from streamtwin.calibrate.terms import Terms
from streamtwin.core.op_costs import block_bytes, block_flops
from streamtwin.core.ops import DitPass, Op
from streamtwin.core.row_costs import ITEMSIZE

EXPONENTS = (2.0, 4.0, 8.0)
"""How sharply one limit takes over from another; the hard maximum is the limit of large ones."""

BYTE_WEIGHTS = (0.0, 0.3, 1.0, 3.0)
"""What moving the bytes of a middling pass may take, as shares of what its FLOPs take."""

FLOORS = (0.0, 0.25, 0.5, 0.75)
"""Where a launch floor may lie, as quantiles of the measured FLOPs; 0: there is none."""


def _ends(op: DitPass) -> Terms:
    """What a micro-step costs besides its blocks."""
    queries = op.query_tokens
    return {
        "pass": 1.0,
        "query_tokens": queries,
        "embedded_tokens": queries * op.embeds,
        "unembedded_tokens": queries * op.unembeds,
    }


def rows(op: Op, _tag: str, *_knobs: float) -> Terms:
    """A pass costs a fixed time, a block another one and its FLOPs: linear in rows."""
    assert isinstance(op, DitPass)
    return {"pass": 1.0, "blocks": op.blocks, "block_flops": op.blocks * block_flops(op)}


def linear(op: Op, _tag: str, *_knobs: float) -> Terms:
    """Blocks cost a fixed time, a time per token, and a time per pair of query and key."""
    assert isinstance(op, DitPass)
    queries = op.query_tokens
    return _ends(op) | {
        "blocks": op.blocks,
        "block_tokens": op.blocks * queries,
        "block_pairs": op.blocks * queries * op.kv_tokens,
    }


def bent(op: Op, tag: str, *knobs: float) -> Terms:
    """As linear, and tokens beyond the knob cost more: the working set leaves a cache."""
    assert isinstance(op, DitPass)
    (knob,) = knobs
    beyond = max(0.0, op.query_tokens - knob)
    return linear(op, tag) | {"block_tokens_beyond": op.blocks * beyond}


def twice_bent(op: Op, tag: str, *knobs: float) -> Terms:
    """As bent, with two sizes from which on tokens cost more."""
    assert isinstance(op, DitPass)
    first, second = knobs
    beyond = max(0.0, op.query_tokens - second)
    return bent(op, tag, first) | {"block_tokens_far_beyond": op.blocks * beyond}


def roofline(op: Op, _tag: str, *knobs: float) -> Terms:
    """A block costs its FLOPs at one rate, but never less than the knob's FLOPs: the launch."""
    assert isinstance(op, DitPass)
    (knob,) = knobs
    return _ends(op) | {"block_flops": op.blocks * max(knob, block_flops(op))}


def smooth_roofline(op: Op, _tag: str, *knobs: float) -> Terms:
    """A block costs the smooth maximum of a launch floor, its FLOPs and its bytes.

    The p-norm of the three, all in FLOPs: the floor, what is computed, and what could be computed
    while the block's bytes are moved. Knobs: the floor in FLOPs, the balance in FLOPs per byte,
    and p. Williams, Waterman and Patterson 2009 (roofline) have p infinite.
    """
    assert isinstance(op, DitPass)
    floor, balance = knobs[:2]
    exponent = max(1.0, knobs[2])  # below 1 limits would add up to more than their sum
    limits = (floor, block_flops(op), balance * block_bytes(op, ITEMSIZE))
    highest = max(limits)
    norm = sum((limit / highest) ** exponent for limit in limits) ** (1 / exponent)
    return _ends(op) | {"block_flops": op.blocks * highest * norm}


def token_knobs(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """All sizes of a pass but the largest."""
    return [(size,) for size in _sizes(ops)] or [(0.0,)]


def token_pairs(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """All pairs of such sizes, the smaller one first."""
    sizes = _sizes(ops)
    return [(a, b) for a, b in product(sizes, sizes) if a < b] or [(0.0, 0.0)]


def _sizes(ops: Sequence[Op]) -> list[float]:
    return sorted({float(op.query_tokens) for op in ops if isinstance(op, DitPass)})[:-1]


def flop_knobs(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """No floor, or the floor at one of the sizes of a block."""
    return [(0.0,), *[(size,) for size in _flops(ops)[:-1]]]


def roof_knobs(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """Floors and balances around the measured passes, and every exponent."""
    passes = [op for op in ops if isinstance(op, DitPass) and op.blocks]
    if not passes:
        return [(0.0, 0.0, EXPONENTS[0])]
    flops = _flops(ops)
    floors = {0.0 if not at else flops[int(at * len(flops))] for at in FLOORS}
    balance = median(block_flops(op) / block_bytes(op, ITEMSIZE) for op in passes)
    found = product(sorted(floors), (weight * balance for weight in BYTE_WEIGHTS), EXPONENTS)
    # without a second limit every exponent says the same
    return [knobs for knobs in found if any(knobs[:2]) or knobs[2] == EXPONENTS[0]]


def _flops(ops: Sequence[Op]) -> list[float]:
    return sorted({block_flops(op) for op in ops if isinstance(op, DitPass) and op.blocks})
