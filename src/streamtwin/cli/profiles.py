"""Which latency model does a scenario mean? A named profile, or this host's own."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamtwin.cli.output import Together, progress, remark
from streamtwin.core.errors import CalibrationError, UserError
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.calibrate.cases import CalibrationRequest
    from streamtwin.calibrate.profile import Profile
    from streamtwin.calibrate.run import Round
    from streamtwin.core.latency import LatencyModel

Told = Callable[[float, str], None]
"""Hears what share of a work is done, and what is being done."""


class Between(Protocol):
    """Work that is done by turns with measuring."""

    def __call__(self, after: "Round", *, told: Told) -> None:
        """Do some of it behind the round of starts *after*, and tell *told* how much is done."""
        ...


HOST = "host"
"""Profile name that means: this machine, measured when there is no measurement yet."""


def profile_of(
    scenario: Scenario,
    *,
    fresh: bool = False,
    ranks: int | None = None,
    budget_s: float | None = None,
    device: str = "cpu",
    beside: Sequence[Scenario] = (),
    between: "Between | None" = None,
) -> "Profile":
    """The profile that *scenario* names; `host` is measured if *fresh* or not measured yet.

    Of a fleet, that of rank 0.

    *ranks* is the largest number of ranks that will be asked for, *budget_s* the time in seconds
    that measuring may take. `host` is measured for the scenarios *beside* it as well, which may
    have other chunks, windows, resolutions or models. *between* is work that is done by turns with
    measuring, if there is any to do.

    Raises:
        UserError: there is no such profile.
        CalibrationError: the host has too few cores for the ranks, or a file is damaged.
    """
    from streamtwin.calibrate.locate import find_profile  # noqa: PLC0415
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415

    if scenario.deployment.fleet:
        from streamtwin.cli.fleet import profile_of_cards  # noqa: PLC0415

        return profile_of_cards(scenario, 0)
    if scenario.profile != HOST:
        return read_profile(find_profile(scenario.profile))
    most = ranks or scenario.deployment.gpus
    requests = tuple(dict.fromkeys(host_request(one, most, device) for one in (scenario, *beside)))
    known = None if fresh or len(requests) > 1 else _known(requests[0], scenario.extrapolate)
    return known or calibrate_host(requests, budget_s, between)


def host_request(scenario: Scenario, ranks: int, device: str) -> "CalibrationRequest":
    """What has to be measured here for *scenario* on up to *ranks* ranks.

    Raises:
        ScenarioError: model or VAE are unknown, or the plan cannot be laid out.
        CalibrationError: the host has too few cores to measure that many ranks at once.
    """
    from streamtwin.calibrate.cases import CalibrationRequest  # noqa: PLC0415
    from streamtwin.calibrate.environment import usable_cores  # noqa: PLC0415
    from streamtwin.cli.checks import check_can_run  # noqa: PLC0415

    cores = usable_cores()
    shared = device == "cpu"
    if shared and ranks > cores and not scenario.extrapolate:
        raise CalibrationError(
            f"deployment.gpus = {ranks}: this host has {cores} cores, so {ranks} ranks cannot be "
            "measured at once; simulate on another profile, or set extrapolate=true"
        )
    check_can_run(scenario, device)
    counts = sorted({count for count in (1, 2, ranks) if count <= cores}) if shared else [1]
    return CalibrationRequest(
        model=scenario.model,
        vae=scenario.vae,
        resolution=scenario.resolution,
        ranks=tuple(counts),
        window=scenario.deployment.window,
        sink=scenario.deployment.sink,
        chunk_latents=scenario.deployment.chunk_latents,
        device=device,
    )


def _known(request: "CalibrationRequest", extrapolate: bool) -> "Profile | None":
    """This host's profile that answers *request*, its own or a grid's; says why there is none."""
    own = _own(request, extrapolate)
    found = _in_a_grid(request, extrapolate) if isinstance(own, str) else own
    if found is None:
        remark(str(own))
    return found


def _own(request: "CalibrationRequest", extrapolate: bool) -> "Profile | str":
    """The profile that this host has of *request*'s model; in words why it does not answer."""
    from streamtwin.calibrate.environment import read_environment  # noqa: PLC0415
    from streamtwin.calibrate.locate import find_profile  # noqa: PLC0415
    from streamtwin.calibrate.profile import check_host, read_profile  # noqa: PLC0415

    try:
        profile = read_profile(find_profile(_name(request)))
        check_host(profile, read_environment(device_name(request.device)))
    except UserError:
        return f"this host has no profile of {request.model} yet: calibrating"
    except CalibrationError as error:
        return f"{error}\ncalibrating anew"
    differs = [field for field in profile.covers(request) if not (extrapolate and field == "ranks")]
    return (
        f"this host's profile has other {', '.join(differs)}: calibrating" if differs else profile
    )


def _in_a_grid(request: "CalibrationRequest", extrapolate: bool) -> "Profile | None":
    """A profile of this host that was made for several requests and answers this one too."""
    from streamtwin.calibrate.environment import read_environment  # noqa: PLC0415
    from streamtwin.calibrate.locate import (  # noqa: PLC0415
        GRID_NAME,
        find_profile,
        list_profiles,
    )
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415

    here = read_environment(device_name(request.device))
    for name in filter(GRID_NAME.search, list_profiles()):
        try:
            profile = read_profile(find_profile(name))
        except CalibrationError:
            continue  # it is named where it is asked for by its name
        asked = set(profile.covers(request)) - ({"ranks"} if extrapolate else set())
        if not asked and not profile.environment.differences(here):
            return profile
    return None


def calibrate_host(
    requests: "Sequence[CalibrationRequest]",
    budget_s: float | None = None,
    between: "Between | None" = None,
) -> "Profile":
    """Measure this host for *requests*, which share ranks and device, and keep the profile.

    *between* is called behind every round of starts, with what it tells its progress to.

    Raises:
        UserError: the profile cannot be kept, or the budget is not positive.
    """
    from streamtwin.calibrate.accelerator import card_remarks  # noqa: PLC0415
    from streamtwin.calibrate.grid import Grid  # noqa: PLC0415
    from streamtwin.calibrate.locate import profile_path  # noqa: PLC0415
    from streamtwin.calibrate.run import (  # noqa: PLC0415
        Settings,
        calibrate,
        default_budget_s,
        grid_name,
    )

    grid = Grid(tuple(requests))
    folder = profile_path(grid_name(grid))
    check_writable(folder.parent)
    for words in card_remarks(grid.device):
        remark(words)
    with progress("calibrating", 1.0 if between is None else 2.0) as bar:
        budget, by_turns = default_budget_s(grid) if budget_s is None else budget_s, Together(bar)
        settings = Settings(on_progress=by_turns.first, say=remark, stale="replace")
        if between is not None:
            other = partial(between, told=by_turns.second)
            settings = replace(settings, between=other)
        return calibrate(grid, out=folder, budget_s=budget, settings=settings)


def device_name(device: str) -> str | None:
    """Name of the card that *device* means; None for the CPU, whose name is the host's."""
    if device == "cpu":
        return None
    import torch  # noqa: PLC0415 - a CPU is named without it

    return str(torch.cuda.get_device_name(device))


def check_writable(folder: Path, *, asked: bool = False) -> None:
    """Refuse to measure what could not be kept; *asked*: the user named the folder.

    Raises:
        UserError: *folder* cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        where = f"--out: {folder}" if asked else str(folder)
        remedy = "give another --out" if asked else "set STREAMTWIN_HOME"
        raise UserError(
            f"{where}: profiles cannot be kept there: {error.strerror}; {remedy}, to a folder that "
            "can be written"
        ) from error


def _name(request: "CalibrationRequest") -> str:
    from streamtwin.calibrate.locate import host_profile_name  # noqa: PLC0415

    return host_profile_name(request.model, request.vae, request.resolution, request.device)


def latency_of(profile: "Profile", scenario: Scenario) -> "LatencyModel":
    """The latency models of *scenario*'s ranks: of its fleet, or all of *profile*."""
    from streamtwin.cli.fleet import fleet_latency  # noqa: PLC0415

    return fleet_latency(scenario, profile)


def itemsize_of(profile: "Profile") -> int:
    """Bytes per element on the profile's device: float32 on a CPU, bfloat16 on a card."""
    return 4 if profile.device == "cpu" else 2


def lazily(profile: "Profile", scenario: Scenario) -> Callable[[], "LatencyModel"]:
    """The latency model, made only if a policy asks for it."""
    return lambda: latency_of(profile, scenario)
