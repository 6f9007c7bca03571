"""What is a profile good for, in one line? Its origin, its range and its error."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter

from streamtwin.calibrate.cases import CalibrationRequest, item_from
from streamtwin.calibrate.fitted import Fit
from streamtwin.calibrate.profile import Profile
from streamtwin.core.ops import Op
from streamtwin.core.plan import Plan, Stage


def summary_of(profile: Profile) -> dict[str, Any]:
    """The line as plain data.

    `error` is the median absolute error of passes that the fit has not seen (held out, or left out
    where none was), `half_width` half of the 90 % interval of a whole pass, the widest; both are shares.
    None: no pass was measured or published.
    """
    passes = [fit for fit in profile.fits if fit.family == "dit"]
    return {
        "name": profile.name,
        "kind": profile.provenance.kind,
        "date": profile.provenance.date,
        "models": _joined(fit.subject for fit in passes),
        "resolutions": _joined(_resolution(request) for request in profile.requests),
        "rows": _joined(_span(fit, "rows") for fit in passes),
        "ranks": _joined(str(count) for count in profile.ranks),
        "error": max((e for e in map(_error, passes) if e is not None), default=None),
        "half_width": max(_half_widths(profile), default=None) if passes else None,
        "source": profile.provenance.source,
    }


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _resolution(request: dict[str, object]) -> str:
    sides = request["resolution"]
    assert isinstance(sides, list | tuple)
    return "x".join(map(str, sides))


def _span(fit: Fit, name: str) -> str:
    low, high = fit.ranges[name]
    return f"{low:g}-{high:g}" if low < high else f"{low:g}"


def _error(fit: Fit) -> float | None:
    return fit.left_out_error if fit.held_out_error is None else fit.held_out_error


def _half_widths(profile: Profile) -> list[float]:
    """Of a pass of each whole model over one row, as a share of its predicted time."""
    latency = profile.latency_model(min(profile.ranks))
    found = [latency.predict(_whole_pass(request)) for request in profile.requests]
    return [(one.high_s - one.low_s) / 2 / one.mean_s for one in found]


def _whole_pass(asked: dict[str, object]) -> Op:
    return _pass_of(_plan_of(asked), 1)


def operations_of(profile: Profile, asked: dict[str, object]) -> list[tuple[str, Op]]:
    """Operations of a deployment that *profile* answers for, of one of its requests, in words."""
    plan = _plan_of(asked)
    size, model, vae = _resolution(asked), plan.model.name, plan.vae.name
    fits = [fit for fit in profile.fits if (fit.family, fit.subject) == ("dit", model)]
    most = int(max((fit.ranges["rows"][1] for fit in fits), default=0))
    return [
        *((f"pass of {model}, {size}, {rows} {'row' if rows == 1 else 'rows'}", _pass_of(plan, rows))
          for rows in range(1, most + 1)),
        (f"encode of {vae}, {size}", plan.encode(1)),
        (f"encode of {vae}, {size}, first chunk", plan.encode(0)),
        (f"decode of {vae}, {size}", plan.decode(1)),
        (f"decode of {vae}, {size}, first chunk", plan.decode(0)),
        (f"hop of a row of {model}, {size}", plan.hop(item_from(plan, 1))),
    ]  # fmt: skip


def _plan_of(asked: dict[str, object]) -> Plan:
    known = {field.name for field in fields(CalibrationRequest)}
    values = {key: value for key, value in asked.items() if key in known}
    return TypeAdapter(CalibrationRequest).validate_python(values).plan()


def _pass_of(plan: Plan, rows: int) -> Op:
    stage = Stage(0, range(plan.model.blocks), True, True, True, True)
    return plan.dit_pass(stage, item_from(plan, rows))
