"""How does a profile become what its report shows?"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from streamtwin.cli.profile_pace import paces_of
from streamtwin.cli.unmeasured_view import answers_of, figures_of
from streamtwin.core import catalog
from streamtwin.core.op_costs import bytes_of, flops_of
from streamtwin.core.ops import Collective, Copy, DitPass, Hop, Migration, Op, VaeDecode, VaeEncode
from streamtwin.reports.profile_view import (
    CaseView,
    CeilingView,
    CurveView,
    FitView,
    ProfileView,
    TermView,
)
from streamtwin.reports.unmeasured import AssumedView

if TYPE_CHECKING:
    from streamtwin.calibrate.fitted import Fit, Parameter, Point
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.latency import LatencyModel

STEPS = 12
"""Sizes between the smallest and the largest at which the curve of a transfer is drawn."""


def view_of(profile: "Profile") -> ProfileView:
    """Everything that a report shows of *profile*."""
    return ProfileView(
        name=profile.name,
        provenance=str(profile.provenance),
        environment=_environment(profile),
        requests=tuple(
            {key: str(value) for key, value in request.items()} for request in profile.requests
        ),
        fits=tuple(_fit(profile, fit) for fit in profile.fits),
        ceilings=ceilings_of(profile),
        answers=answers_of(profile),
        figures=figures_of(profile),
        paces=paces_of(profile),
    )


def _environment(profile: "Profile") -> dict[str, str]:
    """Every field; where nothing was measured, what is known of it."""
    fields = {key: str(value) for key, value in profile.environment.as_dict().items()}
    if profile.measurements:
        return fields
    return {key: fields[key] for key in ("device", "date")}


def ceilings_of(profile: "Profile") -> tuple[CeilingView, ...]:
    """What the catalogue knows of the profile's card, data sheet first; nothing of a CPU."""
    card = catalog.gpu_called(profile.environment.device)
    if card is None:
        return ()
    sheet = CeilingView(f"{card.name}, data sheet", card.source, flops_per_s=card.flops_bf16)
    memory = CeilingView(f"{card.name}, memory", card.source, bytes_per_s=card.memory_bytes_per_s)
    measured = card.measured_flops_bf16
    elsewhere = "matrix product measured elsewhere, as the catalogue has it"
    product = CeilingView(f"{card.name}, matrix product", elsewhere, measured)
    return (sheet, *((product,) if measured else ()), memory)


def _fit(profile: "Profile", fit: "Fit") -> FitView:
    from streamtwin.calibrate.forms import FORMS  # noqa: PLC0415

    latency = profile.latency_model(fit.ranks, extrapolate=True)
    itemsize = 4 if profile.device == "cpu" else 2
    form = FORMS[fit.form]
    widest = _widest(fit.points)
    return FitView(
        family=fit.family,
        subject=fit.subject,
        ranks=fit.ranks,
        form=fit.form,
        knob=", ".join(
            f"{name} = {value:.4g}" for name, value in zip(form.knob_names, fit.knobs, strict=False)
        ),
        axis=_axis(fit.points[0].op) if fit.points else "",
        terms=tuple(map(_term, fit.parameters)),
        alternatives=tuple(fit.alternatives.items()),
        held_out_errors=fit.held_out_errors,
        left_out_errors=fit.left_out_errors,
        half_width=fit.half_width,
        provenance=str(fit.provenance or profile.provenance),
        cases=tuple(_case(fit, point, latency, itemsize, widest) for point in fit.points),
        curves=tuple(_curves(fit, latency)),
        coverage=(fit.coverage.inside, fit.coverage.total) if fit.coverage.total else None,
    )


def _term(parameter: "Parameter") -> TermView:
    known = parameter.assumed
    assumed = None if known is None else AssumedView(known.low, known.high, known.reason)
    return TermView(parameter.name, parameter.value, parameter.stderr, assumed)


def _case(
    fit: "Fit", point: "Point", latency: "LatencyModel", itemsize: int, widest: float
) -> CaseView:
    from streamtwin.calibrate.forms import FORMS  # noqa: PLC0415

    said = latency.predict(point.op)
    scale = point.predicted_s / said.mean_s if said.mean_s else 1.0
    values = {parameter.name: parameter.value for parameter in fit.parameters}
    terms = FORMS[fit.form].terms(point.op, point.tag, *fit.knobs)
    whole = point.predicted_s or 1.0
    return CaseView(
        label=_label(point.op, point.tag),
        series=_series(point.op, point.tag),
        x=_x(point.op),
        measured_s=point.measured_s,
        predicted_s=point.predicted_s,
        low_s=said.low_s * scale,
        high_s=said.high_s * scale,
        held_out=point.held_out,
        stable=point.stable,
        throttled=point.throttled,
        times=len(point.ratios),
        flops=flops_of(point.op),
        bytes=bytes_of(point.op, itemsize),
        shares=tuple((name, values.get(name, 0.0) * each / whole) for name, each in terms.items()),
        floor=_below_floor(fit, point.op),
        on_curve=_on_curve(point.op, widest),
    )


def _below_floor(fit: "Fit", op: Op) -> bool:
    """Whether the work of a block is less than what the fit's floor costs."""
    if fit.form != "roofline" or not isinstance(op, DitPass) or not op.blocks:
        return False
    flops = flops_of(op)
    return flops is not None and flops / op.blocks <= fit.knob


def _widest(points: "Sequence[Point]") -> float:
    """Most tokens that a pass attends: those of a full window."""
    return max((p.op.kv_tokens for p in points if isinstance(p.op, DitPass)), default=0.0)


def _on_curve(op: Op, widest: float) -> bool:
    """Whether *op* belongs on its curve: of passes, those that attend the full window."""
    return not isinstance(op, DitPass) or op.kv_tokens == widest


def _curves(fit: "Fit", latency: "LatencyModel") -> list[CurveView]:
    """What the fit predicts along its axis, one curve for each series that has two places."""
    widest = _widest(fit.points)
    found: dict[str, list[Point]] = {}
    for point in fit.points:
        if _axis(point.op) and _on_curve(point.op, widest):
            found.setdefault(_series(point.op, point.tag), []).append(point)
    return [
        _curve(name, fit, own, latency)
        for name, own in found.items()
        if len({_x(point.op) for point in own}) > 1
    ]


def _curve(name: str, fit: "Fit", points: "Sequence[Point]", latency: "LatencyModel") -> CurveView:
    ops = _between(max(points, key=lambda point: _x(point.op)).op, [_x(p.op) for p in points])
    means = [fit.predict_s(op, points[0].tag) for op in ops]
    said = [latency.predict(op) for op in ops]
    scales = [
        mean / one.mean_s if one.mean_s else 1.0 for mean, one in zip(means, said, strict=True)
    ]
    return CurveView(
        series=name,
        xs=tuple(_x(op) for op in ops),
        mean_s=tuple(means),
        low_s=tuple(one.low_s * scale for one, scale in zip(said, scales, strict=True)),
        high_s=tuple(one.high_s * scale for one, scale in zip(said, scales, strict=True)),
    )


def _between(op: Op, places: Sequence[float]) -> list[Op]:
    """*op* with its rows, or its bytes, from the least to the most of *places*."""
    low, high = min(places), max(places)
    if isinstance(op, DitPass):
        return [replace(op, rows=rows) for rows in range(int(low), int(high) + 1)]
    assert isinstance(op, Hop | Collective | Migration | Copy)
    sizes = [*places, *(low * (high / max(low, 1)) ** (step / STEPS) for step in range(STEPS))]
    kept = sorted({round(size) for size in sizes})
    assert all(a < b for a, b in pairwise(kept))
    return [replace(op, size_bytes=size) for size in kept]


def _axis(op: Op) -> str:
    match op:
        case DitPass():
            return "rows of a pass that attends the full window"
        case VaeEncode() | VaeDecode():
            return ""
        case Hop() | Collective() | Migration() | Copy():
            return "size, bytes"


def _x(op: Op) -> float:
    match op:
        case DitPass():
            return op.rows
        case VaeEncode() | VaeDecode():
            return 0.0
        case Hop() | Collective() | Migration() | Copy():
            return op.size_bytes


def _series(op: Op, tag: str) -> str:
    match op:
        case DitPass():
            return _blocks(op)
        case Collective():
            return f"{op.exchange} of {op.members}"
        case Copy():
            return op.direction
        case Migration():
            return "migration"
        case _:
            return tag


def _label(op: Op, tag: str) -> str:
    match op:
        case DitPass():
            ends = "+".join(["embeds"] * op.embeds + ["unembeds"] * op.unembeds)
            shape = f"{op.rows} x {op.chunk_latents} x {op.tokens}, K {op.kv_tokens:g}"
            return f"{_blocks(op)}, {shape}{f', {ends}' if ends else ''}"
        case VaeEncode() | VaeDecode():
            latents = "1 latent" if op.latents == 1 else f"{op.latents} latents"
            return f"{op.height} x {op.width}, {latents}{', first' if op.first else ''}"
        case _:
            name = _series(op, tag)
            return f"{op.size_bytes:,} B{f', {name}' if name else ''}"


def _blocks(op: DitPass) -> str:
    return "1 block" if op.blocks == 1 else f"{op.blocks} blocks"
