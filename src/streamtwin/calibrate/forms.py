"""Which formulas may a service time follow?

A form turns an operation into named terms, each a physical quantity that is never negative; its
parameters are seconds per unit of each term. With parameters that are not negative either, a
prediction never falls when rows, blocks, tokens or bytes rise. A form may have knobs, scales that
enter the terms themselves; they are chosen together among a few candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamtwin.calibrate import launch_forms, pass_forms, vae_forms
from streamtwin.calibrate.terms import Terms, TermsOf
from streamtwin.core.ops import (
    Collective,
    Copy,
    DitPass,
    Family,
    Hop,
    Migration,
    Op,
    VaeDecode,
    VaeEncode,
)

Knobs = tuple[float, ...]


def _no_knobs(_ops: Sequence[Op]) -> list[Knobs]:
    return [(0.0,)]


@dataclass(frozen=True, slots=True)
class Form:
    """A formula for the operations of some families.

    `terms(op, tag, *knobs)` are the named quantities. `knobs(ops)` are the candidates for the
    knobs, in the units `knob_names`; `smooth`: the best of them is refined, as its terms have no
    corners. `interpolates`: it can answer for an operation that it has not seen. `sums`: it is for
    figures that add up several services, not for raw times of one.
    """

    families: tuple[Family, ...]
    terms: TermsOf
    knobs: Callable[[Sequence[Op]], list[Knobs]] = _no_knobs
    knob_names: tuple[str, ...] = ()
    smooth: bool = False
    interpolates: bool = True
    sums: bool = False


def _hop_linear(op: Op, tag: str, *_knobs: float) -> Terms:
    """A fixed time that depends on who waits and who computes, and a time per byte."""
    assert isinstance(op, Hop)
    return {tag: 1.0, "bytes": op.size_bytes}


def _hop_ramp(op: Op, tag: str, *knobs: float) -> Terms:
    """As linear, plus a wait that grows with the item until it has the size of the knob.

    What fits the socket's buffer leaves at once; for the rest the sender's transfer thread needs
    its core again, and gets it late from a sender that computes. Bytes beyond may cost more.
    """
    assert isinstance(op, Hop)
    (knob,) = knobs
    # a buffer of nothing is filled by the first byte
    filled = min(1.0, op.size_bytes / knob) if knob else float(op.size_bytes > 0)
    return {
        tag: 1.0,
        f"{tag}, filling": filled,
        "bytes": op.size_bytes,
        "bytes_beyond": max(0.0, op.size_bytes - knob),
    }


def _transfer(op: Op, _tag: str, *_knobs: float) -> Terms:
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


def _byte_knobs(ops: Sequence[Op]) -> list[Knobs]:
    sizes = sorted({float(op.size_bytes) for op in ops if isinstance(op, Hop)})[:-1]
    return [(size,) for size in sizes if size] or [(1.0,)]


FORMS: dict[str, Form] = {
    "rows": Form(("dit",), pass_forms.rows),
    "linear": Form(("dit",), pass_forms.linear),
    "bent": Form(("dit",), pass_forms.bent, pass_forms.token_knobs, ("query_tokens",)),
    "twice_bent": Form(
        ("dit",), pass_forms.twice_bent, pass_forms.token_pairs, ("query_tokens", "query_tokens")
    ),
    "roofline": Form(("dit",), pass_forms.roofline, pass_forms.flop_knobs, ("block_flops",)),
    "smooth_roofline": Form(
        ("dit",),
        pass_forms.smooth_roofline,
        pass_forms.roof_knobs,
        ("block_flops", "flops_per_byte", "exponent"),
        smooth=True,
    ),
    "table": Form(("encode", "decode"), vae_forms.table, interpolates=False),
    "convolutions": Form(("encode", "decode"), vae_forms.convolutions),
    "hop_linear": Form(("hop",), _hop_linear),
    "hop_ramp": Form(("hop",), _hop_ramp, _byte_knobs, ("bytes",)),
    "transfer": Form(("collective", "migration", "copy"), _transfer),
    "launch_linear": Form(
        ("dit",), launch_forms.launch_linear, launch_forms.floor_knobs, ("block_flops",), sums=True
    ),
    "launch_by_tokens": Form(
        ("dit",),
        launch_forms.launch_by_tokens,
        launch_forms.floor_knobs,
        ("block_flops",),
        sums=True,
    ),
    "one_row_by_tokens": Form(("dit",), launch_forms.one_row_by_tokens, sums=True),
}


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
