"""Which service times explain published frame rates?

A figure is a sum of services: a chunk on one device takes one encoding, one decoding, and one pass
of N rows in a stream batch or N passes of one row without. Sums are linear in the parameters of all
services, so all figures of a device are solved at once. The fixed cost of a pass is the same for
all models, because the host runs the same code around them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean

import numpy as np

from streamtwin.calibrate.assumptions import Assumptions
from streamtwin.calibrate.cases import CalibrationRequest, item_from
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.launch_forms import FEW_TOKENS, MANY_TOKENS
from streamtwin.calibrate.least_squares import Solution, solve
from streamtwin.calibrate.published_rows import PublishedRow
from streamtwin.calibrate.terms import Terms
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import DitPass
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.specs import TIME_STRIDE

SHARED = "pass"
"""The term that all models share."""

UNDETERMINED = 1.0
"""Error of a figure that the others say nothing of."""


@dataclass(frozen=True, slots=True)
class Equation:
    """A figure as named terms that add up to its seconds; `dit_terms` are those of passes."""

    row: PublishedRow
    terms: Terms
    dit_terms: Terms
    seconds: float


@dataclass(frozen=True, slots=True)
class PublishedFit:
    """One form solved for all figures.

    `left_out` has for each figure what it is off when the others predict it: the error in seconds
    over its predicted passes where it has any, over its seconds elsewhere.
    """

    form: str
    knob: float
    solution: Solution
    equations: tuple[Equation, ...]
    left_out: tuple[float, ...]

    @property
    def mean_error(self) -> float:
        """Mean absolute error of the figures that were left out."""
        return fmean(map(abs, self.left_out))


def plan_of_row(row: PublishedRow, vae: str) -> Plan:
    """One device that holds the whole model, at the figure's resolution."""
    request = CalibrationRequest(row.model, vae, row.resolution, (1,), device="cuda")
    return request.plan()


@cache
def pass_of_row(row: PublishedRow, vae: str) -> DitPass:
    """The pass that the figure has in it: full window, all rows at once.

    Laid out once: a fit asks for it a thousand times.
    """
    plan = plan_of_row(row, vae)
    whole = Stage(0, range(row.blocks), True, True, True, True)
    return plan.dit_pass(whole, item_from(plan, row.rows))


def choose(
    rows: Sequence[PublishedRow], assumed: Assumptions
) -> tuple[PublishedFit, dict[str, float]]:
    """The form with the smallest left-out error, and that error by form.

    Raises:
        CalibrationError: the figures identify no form.
    """
    fits = {
        name: found
        for name, form in FORMS.items()
        if form.sums and (found := _fitted(name, rows, assumed)) is not None
    }
    if not fits:
        raise CalibrationError(f"{len(rows)} published figures are too few for any form")
    chosen = min(fits.values(), key=lambda one: one.mean_error)
    return chosen, {name: one.mean_error for name, one in fits.items()}


def _fitted(form: str, rows: Sequence[PublishedRow], assumed: Assumptions) -> PublishedFit | None:
    """The form with its best knob; None where the figures identify its parameters with none."""
    knobs = FORMS[form].knobs([pass_of_row(row, assumed.vae) for row in rows])
    candidates = [
        (knob, equations)
        for (knob,) in knobs
        if _identified(equations := tuple(equations_of(form, knob, rows, assumed)))
        and _grows(form, knob, _solve(equations), rows, assumed)
    ]
    if not candidates:
        return None
    knob, equations = _best(candidates)
    left_out = tuple(_left_out([each for _, each in candidates], at) for at in range(len(rows)))
    return PublishedFit(form, knob, _solve(equations), equations, left_out)


_Candidate = tuple[float, tuple[Equation, ...]]


def _best(candidates: Sequence[_Candidate]) -> _Candidate:
    """The knob with the smallest squares, and its equations."""
    return min(candidates, key=lambda one: (_solve(one[1]).squares, one[0]))


def equations_of(
    form: str, knob: float, rows: Sequence[PublishedRow], assumed: Assumptions
) -> Iterator[Equation]:
    """Each figure as a sum of terms; what is assumed of a pass is taken off its seconds."""
    split = {row.resolution for row in rows if row.metric in ("encode_ms", "decode_ms")}
    for row in rows:
        if row.metric in ("encode_ms", "decode_ms"):
            half = row.metric.removesuffix("_ms")
            yield Equation(row, {vae_term(half, row.resolution): 1.0}, {}, row.value * 1e-3)
            continue
        terms = FORMS[form].terms(pass_of_row(row, assumed.vae), "", knob)
        passes = row.passes if row.metric == "fps" else 1
        dit = {dit_term(row.model, name): passes * value for name, value in terms.items()}
        seconds = TIME_STRIDE / row.value if row.metric == "fps" else row.value * 1e-3
        if assumed.pass_s is not None:
            seconds -= dit.pop(SHARED) * assumed.pass_s.value
        vae = _vae_terms(row.resolution, row.resolution in split) if row.metric == "fps" else {}
        yield Equation(row, {**vae, **dit}, dit, seconds)


def dit_term(model: str, term: str) -> str:
    """Name of a form's *term* among those of all models."""
    return SHARED if term == SHARED else f"{model}: {term}"


def vae_term(half: str, resolution: tuple[int, int]) -> str:
    """Name of the time of one half of the VAE, or of `both`."""
    return f"{half} {resolution[0]}x{resolution[1]}"


def _vae_terms(resolution: tuple[int, int], split: bool) -> Terms:
    halves = ("encode", "decode") if split else ("both",)
    return {vae_term(half, resolution): 1.0 for half in halves}


def _solve(equations: Sequence[Equation]) -> Solution:
    return solve([one.terms for one in equations], [one.seconds for one in equations])


def _identified(equations: Sequence[Equation]) -> bool:
    """Whether as many terms are independent as there are."""
    names = list(dict.fromkeys(name for one in equations for name in one.terms))
    design = np.array([[one.terms.get(name, 0.0) for name in names] for one in equations])
    scale = np.linalg.norm(design, axis=0)
    return bool(scale.all()) and int(np.linalg.matrix_rank(design / scale)) == len(names)


def _grows(
    form: str, knob: float, solution: Solution, rows: Sequence[PublishedRow], assumed: Assumptions
) -> bool:
    """Whether a pass over more tokens takes longer, for every model."""
    passes = {row.model: pass_of_row(row, assumed.vae) for row in rows}
    return all(
        _block_s(form, knob, solution, _of_tokens(op, FEW_TOKENS))
        <= _block_s(form, knob, solution, _of_tokens(op, MANY_TOKENS))
        for op in passes.values()
    )


def _of_tokens(op: DitPass, tokens: int) -> DitPass:
    """The same pass over one row of so many tokens a frame."""
    return replace(op, rows=1, tokens=tokens, kv_tokens=op.kv_tokens / op.tokens * tokens)


def _block_s(form: str, knob: float, solution: Solution, op: DitPass) -> float:
    """Seconds of the pass without its fixed cost."""
    terms = {dit_term(op.model, k): v for k, v in FORMS[form].terms(op, "", knob).items()}
    return _sum({k: v for k, v in terms.items() if k != SHARED}, solution.values)


def _left_out(candidates: Sequence[Sequence[Equation]], place: int) -> float:
    """Error of one figure as the others predict it, over what its passes take.

    The others choose their knob anew. A figure that says the same of the same services, as two
    figures of one publication do, is left out with it.
    """
    kept = [
        [one for one in equations if one.terms != equations[place].terms]
        for equations in candidates
    ]
    best = min(range(len(kept)), key=lambda at: _solve(kept[at]).squares)
    one, values = candidates[best][place], _solve(kept[best]).values
    if not one.terms.keys() <= values.keys():
        return UNDETERMINED
    error_s = one.seconds - _sum(one.terms, values)
    return error_s / (_sum(one.dit_terms, values) or one.seconds)


def _sum(terms: Terms, values: dict[str, float]) -> float:
    return sum(values[name] * amount for name, amount in terms.items())
