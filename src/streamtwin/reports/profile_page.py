"""What does the page of a profile tell: how sure is it, how well does it fit, what limits a case?"""

from dataclasses import dataclass

from markupsafe import Markup

from streamtwin.reports.figures.curves import curves_svg
from streamtwin.reports.figures.pace import pace_svg
from streamtwin.reports.figures.published import figures_svg
from streamtwin.reports.figures.roofline import roofline_svg
from streamtwin.reports.pace_view import PaceView
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
from streamtwin.reports.unmeasured import AnswerView, FigureView
from streamtwin.reports.words import quantity

Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FitSection:
    """One fit on the page."""

    title: str
    words: str
    provenance: str
    figure: Markup | None
    caption: str
    parameters: tuple[Cells, ...]
    cases: tuple[Cells, ...]


CAPTION = (
    "Left: points are measured, lines and bands predicted with the 90 % interval. Right: what the "
    "prediction is off, over the predicted time; held-out cases took no part in the fit."
)
FIGURES_CAPTION = (
    "Each published figure that the profile is fitted to: how far what the profile makes of it lies "
    "from it, with the 90 % interval of the profile."
)
ROOF_CAPTION = (
    "Arithmetic a byte that must move at least, against the rate achieved. A case far below its "
    "roof is held by launches, by moving more than it must, or by slow kernels."
)

PACE_CAPTION = (
    "How many times as long as on average all services took, step by step of the time in which they "
    "were measured. A simulation with noise plays it again, from an instant of its own."
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
        answers=[answer_cells(one) for one in profile.answers],
        figures=[figure_cells(one) for one in profile.figures],
        figures_svg=inline_svg(figures_svg(profile.figures), FIGURES_CAPTION)
        if profile.figures
        else None,
        figures_caption=FIGURES_CAPTION,
        reasons=reasons_of(profile),
        pace=inline_svg(pace_svg(profile.paces), PACE_CAPTION) if profile.paces else None,
        pace_caption=PACE_CAPTION,
        pace_words=[pace_words(one) for one in profile.paces],
        ceilings=[(one.name, _rate(one.flops_per_s, "FLOP/s") or _rate(one.bytes_per_s, "B/s"),
                   one.source) for one in profile.ceilings],
    )  # fmt: skip


def answer_cells(answer: AnswerView) -> Cells:
    """What the profile says of one operation: what, ms, interval, who says so."""
    low, high = quantity(answer.low_s, "s"), quantity(answer.high_s, "s")
    return answer.operation, quantity(answer.mean_s, "s"), f"{low} to {high}", answer.provenance


def figure_cells(figure: FigureView) -> Cells:
    """One published figure: what, published, predicted, interval, error, unit, source."""
    return (
        figure.label,
        f"{figure.published:.2f}",
        f"{figure.predicted:.2f}",
        f"{figure.low:.2f} to {figure.high:.2f}",
        f"{100 * figure.error:+.1f}",
        figure.unit,
        figure.source,
    )


def pace_words(pace: PaceView) -> str:
    """How slow the slowest moments were, in one sentence."""
    slower = _percent(pace.slowest_twentieth)
    return f"{pace.title}: {slower} longer than on average, or more, in a twentieth of the time."


def reasons_of(profile: ProfileView) -> list[Cells]:
    """Each assumption once: which parameters rest on it, and why it is taken."""
    resting: dict[str, list[str]] = {}
    for fit in profile.fits:
        for term in fit.terms:
            if term.assumed is not None:
                resting.setdefault(term.assumed.reason, []).append(f"{fit.family}: {term.name}")
    return [("; ".join(names), reason) for reason, names in resting.items()]


def error_words(fit: FitView) -> str:
    """How wrong *fit* is, in one sentence."""
    parts = []
    for name, errors in (("held-out", fit.held_out_errors), ("left-out", fit.left_out_errors)):
        middle, worst = median_of(errors), worst_of(errors)
        if middle is not None and worst is not None:
            parts.append(f"{name} error median {_percent(middle)}, worst {_percent(worst)}")
    assumed = sum(term.assumed is not None for term in fit.terms)
    if assumed < len(fit.terms):
        parts.append(f"90 % interval ± {_percent(fit.half_width)}")
    if assumed:
        parts.append(
            f"{assumed} of {len(fit.terms)} parameters assumed, with intervals of their own"
        )
    if fit.coverage:
        parts.append("{} of {} held-out operations inside it".format(*fit.coverage))
    for word in ("unstable", "throttled"):
        marked = sum(case.state == word for case in fit.cases)
        if marked or (fit.cases and word == "unstable"):
            parts.append(f"{marked} of {len(fit.cases)} cases {word}")
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
    if term.assumed is not None:
        known = f"assumed, {term.assumed.low:.3g} to {term.assumed.high:.3g}"
        return term.name or "-", f"{term.value:.4g}", known, term.unit
    none = "not known" if term.value else "at its bound"
    stderr = none if term.stderr is None else f"{term.stderr:.2g}"
    return term.name or "-", f"{term.value:.4g}", stderr, term.unit


def case_cells(case: CaseView, profile: ProfileView) -> Cells:
    """One case: what it is, its times, its work, what limits it and why."""
    limit = limit_of(case, profile.ceilings, profile.ridge)
    intensity = "-" if case.intensity is None else f"{case.intensity:.1f}"
    state = ", ".join(
        word
        for word, given in (
            ("held out", case.held_out),
            ("unstable", not case.stable),
            ("throttled", case.throttled),
        )
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
        figure=inline_svg(curves_svg(fit), f"{fit.title}: {CAPTION}") if fit.cases else None,
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
