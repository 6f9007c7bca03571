"""How do published figures and assumptions become a profile?

Its folder holds the figures (`published.csv`) and what they leave open (`assumptions.yaml`) where a
measured profile has raw times; `meta.yaml` and `fit.json` follow from the two.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from streamtwin.calibrate.assumptions import Assumption, Assumptions, read_assumptions
from streamtwin.calibrate.cases import FIRST, CalibrationRequest, item_from
from streamtwin.calibrate.environment import Environment, elsewhere
from streamtwin.calibrate.fitted import Fit, Parameter
from streamtwin.calibrate.forms import FORMS, coordinates
from streamtwin.calibrate.jackknife import half_width
from streamtwin.calibrate.meta import plain
from streamtwin.calibrate.profile import ASSUMPTIONS, FIGURES, Profile
from streamtwin.calibrate.published_fit import (
    SHARED,
    PublishedFit,
    choose,
    dit_term,
    plan_of_row,
    vae_term,
)
from streamtwin.calibrate.published_rows import PublishedRow, read_rows
from streamtwin.core import catalog
from streamtwin.core.catalog import LinkSpec
from streamtwin.core.latency import Provenance
from streamtwin.core.ops import Op, VaeDecode, VaeEncode
from streamtwin.core.plan import Plan, Stage

NORMAL_90 = 1.645
"""Standard errors on either side of a value that cover 90 %."""

MAX_HOP_BYTES = 2.0**32
"""Largest transfer that a link's two figures are taken to describe: a 14B block with every window."""

RECEIVE = "blocking receive"


def published_profile(folder: Path) -> Profile:
    """Fit what *folder* publishes.

    Raises:
        CalibrationError: a figure or an assumption is wrong, or the figures are too few.
    """
    rows, assumed = read_rows(folder / FIGURES), read_assumptions(folder / ASSUMPTIONS)
    found, alternatives = choose(rows, assumed)
    models = list(dict.fromkeys(row.model for row in rows))
    link = catalog.link(catalog.gpu(assumed.gpu).link)
    fits = (
        *(_dit_fit(model, found, alternatives, rows, assumed) for model in models),
        *(_vae_fit(half, found, rows, assumed) for half in ("encode", "decode")),
        hop_fit(link, assumed.receive_s, assumed.receive_byte_s),
    )
    return Profile(
        name=folder.name,
        environment=_environment(assumed),
        provenance=Provenance("published", assumed.source, assumed.date),
        requests=tuple(_requests(rows, assumed.vae)),
        measurements=(),
        fits=fits,
        figures=rows,
    )


def _environment(assumed: Assumptions) -> Environment:
    return elsewhere(assumed.device, assumed.date)


def _requests(rows: Sequence[PublishedRow], vae: str) -> list[dict[str, object]]:
    settings = dict.fromkeys((row.model, row.resolution) for row in rows)
    requests = [
        CalibrationRequest(model, vae, resolution, (1,), device="cuda")
        for model, resolution in settings
    ]
    return [plain(asdict(request)) for request in requests]


def _dit_fit(
    model: str,
    found: PublishedFit,
    alternatives: dict[str, float],
    rows: Sequence[PublishedRow],
    assumed: Assumptions,
) -> Fit:
    """Passes of *model*, with the errors of the figures that have them."""
    own = [row for row in rows if row.model == model]
    errors = tuple(
        error
        for one, error in zip(found.equations, found.left_out, strict=True)
        if one.row.model == model and one.dit_terms
    )
    ops = [op for row in own for op in _asked_of(plan_of_row(row, assumed.vae), row)]
    return Fit(
        family="dit",
        subject=model,
        ranks=1,
        form=found.form,
        knob=found.knob,
        parameters=_dit_parameters(model, found, ops[0], assumed),
        tags=("",),
        ranges=_ranges(ops),
        left_out_errors=errors,
        held_out_errors=(),
        half_width=half_width(errors),
        alternatives=alternatives,
    )


def _dit_parameters(
    model: str, found: PublishedFit, op: Op, assumed: Assumptions
) -> tuple[Parameter, ...]:
    solution, parameters = found.solution, list[Parameter]()
    for term in FORMS[found.form].terms(op, "", found.knob):
        if term == SHARED and assumed.pass_s is not None:
            parameters.append(Parameter(term, assumed.pass_s.value, None, assumed=assumed.pass_s))
        else:
            name = dit_term(model, term)
            parameters.append(Parameter(term, solution.values[name], solution.stderr[name]))
    return tuple(parameters)


def _asked_of(plan: Plan, row: PublishedRow) -> list[Op]:
    """Passes that a deployment of the figure's kind makes: of some blocks, from the first chunk on.

    Windows that fill, and the longer first chunk, are no part of any figure: they follow from
    the FLOPs of the form.
    """
    blocks = (0, plan.model.blocks)
    return [
        plan.dit_pass(Stage(0, range(count), ends, ends, ends, ends), item)
        for count in blocks
        for ends in (False, True)
        for item in (item_from(plan, row.rows), item_from(plan, 1), item_from(plan, 1, FIRST))
    ]


def _ranges(ops: Sequence[Op]) -> dict[str, tuple[float, float]]:
    each = [coordinates(op) for op in ops]
    return {name: (min(c[name] for c in each), max(c[name] for c in each)) for name in each[0]}


def _vae_fit(
    half: str, found: PublishedFit, rows: Sequence[PublishedRow], assumed: Assumptions
) -> Fit:
    """One half of the VAE at every published resolution, first chunk and later ones."""
    solution, kind = found.solution, VaeEncode if half == "encode" else VaeDecode
    share, first = assumed.encode_share, assumed.first_encode
    if half == "decode":
        share, first = _rest(share), assumed.first_decode
    parameters, spreads, ops = list[Parameter](), list[float](), list[Op]()
    for resolution in dict.fromkeys(row.resolution for row in rows):
        apart = vae_term(half, resolution)
        name = apart if apart in solution.values else vae_term("both", resolution)
        known_s, stderr = solution.values[name], solution.stderr[name]
        spreads.append(NORMAL_90 * (stderr or known_s) / known_s)
        split = None if name == apart else _times(share, known_s)
        steady_s = known_s if split is None else split.value
        steady = kind(assumed.vae, *resolution, latents=1, first=False)
        opening = kind(assumed.vae, *resolution, latents=2, first=True)
        ops += [steady, opening]
        parameters += [
            Parameter(_cell(steady), steady_s, None if split else stderr, assumed=split),
            Parameter(
                _cell(opening), steady_s * first.value, None, assumed=_times(first, steady_s)
            ),
        ]
    return Fit(
        family="encode" if half == "encode" else "decode",
        subject=assumed.vae,
        ranks=1,
        form="table",
        knob=0.0,
        parameters=tuple(parameters),
        tags=("",),
        ranges=_ranges(ops),
        left_out_errors=(),
        held_out_errors=(),
        half_width=max(spreads),
        alternatives={},
    )


def _cell(op: Op) -> str:
    """The one term of *op* in a table."""
    (name,) = FORMS["table"].terms(op, "", 0.0)
    return name


def _rest(share: Assumption) -> Assumption:
    return Assumption(1 - share.value, 1 - share.high, 1 - share.low, share.reason)


def _times(assumed: Assumption, factor: float) -> Assumption:
    return Assumption(
        assumed.value * factor, assumed.low * factor, assumed.high * factor, assumed.reason
    )


def hop_fit(link: LinkSpec, receive: Assumption, receive_byte: Assumption | None = None) -> Fit:
    """What a hop over *link* costs its receiver: the link's latency and bytes, and its own part.

    *receive* and *receive_byte*: seconds that the receiver takes besides, as a whole and a byte.
    """
    fixed = Assumption(
        receive.value + link.latency_s,
        receive.low + link.latency_s,
        receive.high + link.latency_s,
        f"{receive.reason}; link {link.name}: {link.source}",
    )
    byte = 1 / link.bytes_per_s
    per_byte = Assumption(byte, byte * 0.8, byte * 1.5, f"link {link.name}: {link.source}")
    if receive_byte is not None:
        per_byte = Assumption(
            per_byte.value + receive_byte.value,
            per_byte.low + receive_byte.low,
            per_byte.high + receive_byte.high,
            f"{receive_byte.reason}; {per_byte.reason}",
        )
    return Fit(
        family="hop",
        subject="link",
        ranks=1,
        form="hop_linear",
        knob=0.0,
        parameters=(
            Parameter(RECEIVE, fixed.value, None, assumed=fixed),
            Parameter("bytes", per_byte.value, None, assumed=per_byte),
        ),
        tags=(RECEIVE,),
        ranges={"size_bytes": (0.0, MAX_HOP_BYTES)},
        left_out_errors=(),
        held_out_errors=(),
        half_width=0.0,
        alternatives={},
        provenance=Provenance("assumed", f"link {link.name} and a blocking receive", ""),
    )
