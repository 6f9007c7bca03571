"""Which formulas may a service time follow?

A form turns an operation into named terms, each a physical quantity that is never negative; its
parameters are seconds per unit of each term. With parameters that are not negative either, a
prediction never falls when rows, blocks, tokens or bytes rise. A form may have one knob, a scale
that enters the terms themselves and is chosen among a few candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from streamtwin.calibrate import launch_forms
from streamtwin.core import catalog
from streamtwin.core.ops import (
    Collective,
    Copy,
    DitPass,
    Hop,
    Migration,
    Op,
    VaeDecode,
    VaeEncode,
)
from streamtwin.core.specs import ModelSpec

Family = Literal["dit", "encode", "decode", "hop", "collective", "migration", "copy"]
Terms = dict[str, float]


@dataclass(frozen=True, slots=True)
class Form:
    """A formula for the operations of some families.

    `terms(op, tag, knob)` are the named quantities. `knobs(ops)` are the candidates for the knob,
    in the unit `knob_name`. `interpolates`: it can answer for an operation that it has not seen.
    `sums`: it is for figures that add up several services, not for raw times of one.
    """

    families: tuple[Family, ...]
    terms: Callable[[Op, str, float], Terms]
    knobs: Callable[[Sequence[Op]], list[float]] = lambda _: [0.0]
    knob_name: str = ""
    interpolates: bool = True
    sums: bool = False


def _ends(op: DitPass) -> Terms:
    """What a micro-step costs besides its blocks."""
    queries = op.query_tokens
    return {
        "pass": 1.0,
        "query_tokens": queries,
        "embedded_tokens": queries * op.embeds,
        "unembedded_tokens": queries * op.unembeds,
    }


def _linear(op: Op, _tag: str, _knob: float) -> Terms:
    """Blocks cost a fixed time, a time per token, and a time per pair of query and key."""
    assert isinstance(op, DitPass)
    queries = op.query_tokens
    return _ends(op) | {
        "blocks": op.blocks,
        "block_tokens": op.blocks * queries,
        "block_pairs": op.blocks * queries * op.kv_tokens,
    }


def _bent(op: Op, tag: str, knob: float) -> Terms:
    """As linear, and tokens beyond the knob cost more: the working set leaves a cache."""
    assert isinstance(op, DitPass)
    beyond = max(0.0, op.query_tokens - knob)
    return _linear(op, tag, knob) | {"block_tokens_beyond": op.blocks * beyond}


def _roofline(op: Op, _tag: str, knob: float) -> Terms:
    """A block costs its FLOPs at one rate, but never less than the knob's FLOPs: the launch."""
    assert isinstance(op, DitPass)
    flops = _block_flops(op)
    return _ends(op) | {"block_flops": op.blocks * max(knob, flops)}


def _block_flops(op: DitPass) -> float:
    return _model(op.model).block_flops(op.query_tokens, int(op.kv_tokens))


@cache
def _model(name: str) -> ModelSpec:
    """The catalogue's entry, read once: a fit asks for it a thousand times."""
    return catalog.model(name)


def _token_knobs(ops: Sequence[Op]) -> list[float]:
    """All sizes of a pass but the largest."""
    return sorted({float(op.query_tokens) for op in ops if isinstance(op, DitPass)})[:-1] or [0.0]


def _flop_knobs(ops: Sequence[Op]) -> list[float]:
    """No floor, or the floor at one of the sizes of a block."""
    flops = {_block_flops(op) for op in ops if isinstance(op, DitPass) and op.blocks}
    return [0.0, *sorted(flops)[:-1]]


def _table(op: Op, _tag: str, _knob: float) -> Terms:
    """Each exact operation has a time of its own."""
    assert isinstance(op, VaeEncode | VaeDecode)
    first = ", first" if op.first else ""
    return {f"{op.height} x {op.width}, latents {op.latents}{first}": 1.0}


def _hop_linear(op: Op, tag: str, _knob: float) -> Terms:
    """A fixed time that depends on who waits and who computes, and a time per byte."""
    assert isinstance(op, Hop)
    return {tag: 1.0, "bytes": op.size_bytes}


def _hop_ramp(op: Op, tag: str, knob: float) -> Terms:
    """As linear, plus a wait that grows with the item until it has the size of the knob.

    What fits the socket's buffer leaves at once; for the rest the sender's transfer thread needs
    its core again, and gets it late from a sender that computes. Bytes beyond may cost more.
    """
    assert isinstance(op, Hop)
    return {
        tag: 1.0,
        f"{tag}, filling": min(1.0, op.size_bytes / knob),
        "bytes": op.size_bytes,
        "bytes_beyond": max(0.0, op.size_bytes - knob),
    }


def _transfer(op: Op, _tag: str, _knob: float) -> Terms:
    """A fixed time and a time per byte, for each kind of transfer its own."""
    match op:
        case Collective():
            kind = f"{op.exchange} of {op.members}"
        case Copy():
            kind = op.direction
        case Migration():
            kind = "migration"
        case _:
            raise AssertionError(op)
    return {kind: 1.0, f"{kind}, bytes": op.size_bytes}


def _byte_knobs(ops: Sequence[Op]) -> list[float]:
    return sorted({float(op.size_bytes) for op in ops if isinstance(op, Hop)})[:-1] or [1.0]


FORMS: dict[str, Form] = {
    "linear": Form(("dit",), _linear),
    "bent": Form(("dit",), _bent, _token_knobs, "query_tokens"),
    "roofline": Form(("dit",), _roofline, _flop_knobs, "block_flops"),
    "table": Form(("encode", "decode"), _table, interpolates=False),
    "hop_linear": Form(("hop",), _hop_linear),
    "hop_ramp": Form(("hop",), _hop_ramp, _byte_knobs, "bytes"),
    "transfer": Form(("collective", "migration", "copy"), _transfer),
    "launch_linear": Form(
        ("dit",), launch_forms.launch_linear, launch_forms.floor_knobs, "block_flops", sums=True
    ),
    "launch_by_tokens": Form(
        ("dit",), launch_forms.launch_by_tokens, launch_forms.floor_knobs, "block_flops", sums=True
    ),
    "one_row_by_tokens": Form(("dit",), launch_forms.one_row_by_tokens, sums=True),
}


FAMILIES: dict[type[Op], Family] = {
    DitPass: "dit",
    VaeEncode: "encode",
    VaeDecode: "decode",
    Hop: "hop",
    Collective: "collective",
    Migration: "migration",
    Copy: "copy",
}


def family_of(op: Op) -> Family:
    """The family of operations that *op* belongs to; one fit covers one family."""
    return FAMILIES[type(op)]


def subject_of(op: Op) -> str:
    """The model, VAE or link that *op* runs on: a fit never answers for another one."""
    match op:
        case DitPass():
            return op.model
        case VaeEncode() | VaeDecode():
            return op.vae
        case Hop() | Collective() | Migration() | Copy():
            return "link"


def coordinates(op: Op) -> dict[str, float]:
    """Where *op* lies, by name; a fit has a range for each."""
    match op:
        case DitPass():
            return {
                "blocks": op.blocks,
                "rows": op.rows,
                "chunk_latents": op.chunk_latents,
                "tokens": op.tokens,
                "kv_tokens": op.kv_tokens,
                "query_tokens": op.query_tokens,
                "embeds": op.embeds,
                "unembeds": op.unembeds,
            }
        case VaeEncode() | VaeDecode():
            return {
                "height": op.height,
                "width": op.width,
                "latents": op.latents,
                "first": op.first,
            }
        case Collective():
            return {"members": op.members, "size_bytes": op.size_bytes}
        case Hop() | Migration() | Copy():
            return {"size_bytes": op.size_bytes}
