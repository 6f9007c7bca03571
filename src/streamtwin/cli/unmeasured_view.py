"""What does a profile say that nobody measured? Its answers, and the figures it is fitted to."""

from typing import TYPE_CHECKING

from streamtwin.core.specs import TIME_STRIDE
from streamtwin.reports.unmeasured import AnswerView, FigureView

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.calibrate.published_rows import PublishedRow
    from streamtwin.core.latency import LatencyModel, Prediction
    from streamtwin.core.ops import Op


def answers_of(profile: "Profile") -> tuple[AnswerView, ...]:
    """Passes of the whole model by rows, both halves of the VAE, and hops, at every resolution."""
    if profile.measurements:
        return ()
    from streamtwin.calibrate.summary import operations_of  # noqa: PLC0415

    latency = profile.latency_model(min(profile.ranks))
    answers = dict[str, AnswerView]()
    for request in profile.requests:
        for words, op in operations_of(profile, request):
            said = latency.predict(op)
            answers[words] = AnswerView(
                words, said.mean_s, said.low_s, said.high_s, str(said.provenance)
            )
    return tuple(answers.values())


def figures_of(profile: "Profile") -> tuple[FigureView, ...]:
    """Published figures, with what the profile makes of each."""
    if not profile.figures:
        return ()
    latency = profile.latency_model(min(profile.ranks))
    vae = next(fit.subject for fit in profile.fits if fit.family == "encode")
    return tuple(_figure(row, latency, vae) for row in profile.figures)


def _figure(row: "PublishedRow", latency: "LatencyModel", vae: str) -> FigureView:
    parts = [latency.predict(op) for op in _operations(row, vae)]
    mean_s, low_s, high_s = (_sum(parts, name) for name in ("mean_s", "low_s", "high_s"))
    if row.metric == "fps":
        made = TIME_STRIDE / mean_s, TIME_STRIDE / high_s, TIME_STRIDE / low_s
        unit = "frames/s"
    else:
        made = 1e3 * mean_s, 1e3 * low_s, 1e3 * high_s
        unit = "ms"
    predicted, low, high = made
    return FigureView(row.label, unit, row.value, predicted, low, high, row.source)


def _operations(row: "PublishedRow", vae: str) -> "list[Op]":
    """What the figure adds up: all of a chunk, or one service."""
    from streamtwin.calibrate.published_fit import pass_of_row, plan_of_row  # noqa: PLC0415

    plan = plan_of_row(row, vae)
    match row.metric:
        case "encode_ms":
            return [plan.encode(1)]
        case "decode_ms":
            return [plan.decode(1)]
        case "pass_ms":
            return [pass_of_row(row, vae)]
        case "fps":
            return [plan.encode(1), plan.decode(1), *[pass_of_row(row, vae)] * row.passes]


def _sum(parts: "list[Prediction]", name: str) -> float:
    return sum(float(getattr(part, name)) for part in parts)
