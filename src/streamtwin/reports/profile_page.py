"""What does the page of a profile tell: how sure is it, how well does it fit, what limits a case?"""

from dataclasses import dataclass

from markupsafe import Markup

from streamtwin.reports.figures.curves import curves_svg
from streamtwin.reports.figures.roofline import roofline_svg
from streamtwin.reports.profile_view import (
    CaseView,
    FitView,
    ProfileView,
    TermView,
    limit_of,
    median_of,
    worst_of,
)
from streamtwin.reports.svg_inline import inline_svg
from streamtwin.reports.templating import fill
from streamtwin.reports.words import quantity

Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FitSection:
    """One fit on the page."""

    title: str
    words: str
    provenance: str
    figure: Markup
    caption: str
    parameters: tuple[Cells, ...]
    cases: tuple[Cells, ...]


CAPTION = (
    "Left: points are measured, lines and bands predicted with the 90 % interval. Right: what the "
    "prediction is off, over the predicted time; held-out cases took no part in the fit."
)
ROOF_CAPTION = (
    "Arithmetic a byte that must move at least, against the rate achieved. A case far below its "
    "roof is held by launches, by moving more than it must, or by slow kernels."
)


def render_profile(profile: ProfileView) -> str:
    """Make the page of *profile*."""
    roofline = roofline_svg(profile)
    return fill(
        "profile.html.j2",
        profile=profile,
        fits=[_section(fit, profile) for fit in profile.fits],
        roofline=None if roofline is None else inline_svg(roofline, ROOF_CAPTION),
        roof_caption=ROOF_CAPTION,
        ceilings=[(one.name, _rate(one.flops_per_s, "FLOP/s") or _rate(one.bytes_per_s, "B/s"),
                   one.source) for one in profile.ceilings],
    )  # fmt: skip


def error_words(fit: FitView) -> str:
    """How wrong *fit* is, in one sentence."""
    parts = []
    for name, errors in (("held-out", fit.held_out_errors), ("left-out", fit.left_out_errors)):
        middle, worst = median_of(errors), worst_of(errors)
        if middle is not None and worst is not None:
            parts.append(f"{name} error median {_percent(middle)}, worst {_percent(worst)}")
    parts.append(f"90 % interval ± {_percent(fit.half_width)}")
    if fit.coverage:
        parts.append("{} of {} held-out cases inside it".format(*fit.coverage))
    unstable = sum(not case.stable for case in fit.cases)
    parts.append(f"{unstable} of {len(fit.cases)} cases unstable")
    return "; ".join(parts) + "."


def form_words(fit: FitView) -> str:
    """The form chosen, and what the others were wrong by."""
    others = [f"{name} {_percent(error)}" for name, error in fit.alternatives if name != fit.form]
    beside = f" (left-out error of the others: {', '.join(others)})" if others else ""
    own = dict(fit.alternatives).get(fit.form)
    error = "" if own is None else f", mean left-out error {_percent(own)}"
    knob = f", {fit.knob}" if fit.knob else ""
    return f"Form {fit.form}{knob}{error}{beside}."


def parameter_cells(term: TermView) -> Cells:
    """One parameter: name, value, standard error, unit."""
    none = "not known" if term.value else "at its bound"
    stderr = none if term.stderr is None else f"{term.stderr:.2g}"
    return term.name or "-", f"{term.value:.4g}", stderr, term.unit


def case_cells(case: CaseView, profile: ProfileView) -> Cells:
    """One case: what it is, its times, its work, what limits it and why."""
    limit = limit_of(case, profile.ceilings, profile.ridge)
    intensity = "-" if case.intensity is None else f"{case.intensity:.1f}"
    state = ", ".join(
        word
        for word, given in (("held out", case.held_out), ("unstable", not case.stable))
        if given
    )
    return (
        case.label,
        state or "-",
        quantity(case.measured_s, "s"),
        quantity(case.predicted_s, "s"),
        f"{quantity(case.low_s, 's')} to {quantity(case.high_s, 's')}",
        f"{100 * case.error:+.1f}",
        intensity,
        _rate(case.flops_per_s, "FLOP/s") or "-",
        limit.what,
        limit.why,
    )


def _section(fit: FitView, profile: ProfileView) -> FitSection:
    return FitSection(
        title=fit.title,
        words=f"{form_words(fit)} {error_words(fit).capitalize()}",
        provenance=fit.provenance,
        figure=inline_svg(curves_svg(fit), f"{fit.title}: {CAPTION}"),
        caption=CAPTION,
        parameters=tuple(map(parameter_cells, fit.terms)),
        cases=tuple(case_cells(case, profile) for case in fit.cases),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rate(value: float | None, unit: str) -> str:
    """A rate with the letter of its thousands; empty where there is none."""
    if value is None:
        return ""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}"
