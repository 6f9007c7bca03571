"""How does a request become a profile? Measure kernels and hops, fit, write."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from streamtwin.calibrate.accelerator import card_count
from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.calibrate.environment import read_environment, usable_cores
from streamtwin.calibrate.harness import Clock, Measurement
from streamtwin.calibrate.locate import host_profile_name
from streamtwin.calibrate.profile import Profile, make_profile, write_profile
from streamtwin.calibrate.ranks import Result, measure_hops, measure_kernels, measure_transfers
from streamtwin.calibrate.transfer_cases import transfer_ranks
from streamtwin.core.errors import UserError
from streamtwin.runtime.processes import Target, run_ranks

Progress = Callable[[float, str], None]

DEFAULT_BUDGET_S = 35.0
"""Enough for the smallest model on two cores: about ten rounds of all cases."""

HOP_SHARE = 0.4
"""Budget of hops against that of the kernels at one number of ranks."""

TRANSFER_SHARE = 0.3
"""Likewise, of exchanges and migrations."""


@dataclass(frozen=True, slots=True)
class _Phase:
    """One start of rank processes: what they time, and its share of the budget."""

    target: Target
    ranks: int
    share: float
    text: str


def calibrate(
    request: CalibrationRequest,
    *,
    out: Path | None = None,
    budget_s: float = DEFAULT_BUDGET_S,
    clock: Clock = time.monotonic,
    on_progress: Progress | None = None,
) -> Profile:
    """Measure what *request* names on this host, fit it, and write it to *out* unless None.

    *budget_s* is the time of the whole call by *clock*, process starts included; it is exceeded
    only where the least number of times per case takes longer. On a host with one core only
    ranks = 1 is measured. *on_progress* hears the share that is done and what is being done.

    Raises:
        UserError: the model or VAE is unknown, or the budget is not positive.
        RunError: a rank process failed.
    """
    if not budget_s > 0:
        raise UserError(f"budget_s = {budget_s}: give a positive number of seconds")
    request = _fitting(request)
    request.plan()
    measurements, device = _measure(request, budget_s, clock, on_progress or _silent)
    name = out.name if out else _host_name(request)
    environment = read_environment(device)
    profile = make_profile(name, environment, [asdict(request)], measurements)
    if out is not None:
        write_profile(profile, out)
    return profile


def _host_name(request: CalibrationRequest) -> str:
    return host_profile_name(request.model, request.vae, request.resolution, request.device)


def _silent(_fraction: float, _text: str) -> None:
    pass


def _fitting(request: CalibrationRequest) -> CalibrationRequest:
    """The request without numbers of ranks that cannot compute at once on this host."""
    return replace(request, ranks=(1,)) if usable_cores() == 1 else request


def _phases(request: CalibrationRequest) -> list[_Phase]:
    phases = []
    for ranks in sorted(request.ranks):
        phases.append(_Phase(measure_kernels, ranks, 1.0, f"kernels, {ranks} at once"))
    for ranks in transfer_ranks(request, card_count(request.device)):
        phases.append(_Phase(measure_hops, ranks, HOP_SHARE, f"hops, {ranks} ranks"))
        phases.append(_Phase(measure_transfers, ranks, TRANSFER_SHARE, f"transfers, {ranks} ranks"))
    return phases


def _measure(
    request: CalibrationRequest, budget_s: float, clock: Clock, on_progress: Progress
) -> tuple[list[Measurement], str | None]:
    """All times, and the accelerator's name; each phase gets its share of the time left."""
    phases = _phases(request)
    total = sum(phase.share for phase in phases)
    began_s, done = clock(), 0.0
    measured: list[Measurement] = []
    device: str | None = None
    for phase in phases:
        left_s = budget_s - (clock() - began_s)
        share_s = max(0.0, left_s) * phase.share / (total - done)
        span = (done / total, phase.share / total)
        for times, name in _run_phase(phase, request, share_s, span, on_progress):
            measured += times
            device = device or name
        done += phase.share
    on_progress(1.0, "fitted")
    return measured, device


def _run_phase(
    phase: _Phase,
    request: CalibrationRequest,
    budget_s: float,
    span: tuple[float, float],
    on_progress: Progress,
) -> list[Result]:
    begin, length = span
    on_progress(begin, phase.text)
    return run_ranks(
        phase.target,
        phase.ranks,
        (request, time.monotonic() + budget_s),
        on_progress=lambda _, fraction: on_progress(begin + length * fraction, phase.text),
    )
