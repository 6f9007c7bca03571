"""Which latency model does a scenario mean? A named profile, or this host's own."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from streamtwin.cli.output import progress, remark
from streamtwin.core.errors import CalibrationError, UserError
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.latency import LatencyModel

HOST = "host"
"""Profile name that means: this machine, measured when there is no measurement yet."""


def profile_of(
    scenario: Scenario,
    *,
    fresh: bool = False,
    ranks: int | None = None,
    budget_s: float | None = None,
) -> "Profile":
    """The profile that *scenario* names; `host` is measured if *fresh* or not measured yet.

    *ranks* is the largest number of ranks that will be asked for, *budget_s* the time in seconds
    that measuring may take.

    Raises:
        UserError: there is no such profile.
        CalibrationError: the host has too few cores for the ranks, or a file is damaged.
    """
    from streamtwin.calibrate.locate import find_profile, host_profile_name  # noqa: PLC0415
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415

    if scenario.profile != HOST:
        return read_profile(find_profile(scenario.profile))
    wanted = ranks or scenario.deployment.gpus
    name = host_profile_name(scenario.model, scenario.vae, scenario.resolution)
    if not fresh:
        try:
            known = read_profile(find_profile(name))
        except UserError:
            remark(f"this host has no profile of {scenario.model} yet: calibrating")
        except CalibrationError as error:
            remark(f"{error}: calibrating anew")
        else:
            if wanted in known.ranks or scenario.extrapolate:
                return known
            remark(f"this host's profile has no measurement with {wanted} ranks: calibrating")
    return calibrate_host(scenario, wanted, budget_s)


def calibrate_host(scenario: Scenario, ranks: int, budget_s: float | None = None) -> "Profile":
    """Measure this host for *scenario* with up to *ranks* ranks, and keep the profile."""
    from streamtwin.calibrate.cases import CalibrationRequest  # noqa: PLC0415
    from streamtwin.calibrate.environment import usable_cores  # noqa: PLC0415
    from streamtwin.calibrate.locate import host_profile_name, profile_path  # noqa: PLC0415
    from streamtwin.calibrate.run import DEFAULT_BUDGET_S, calibrate  # noqa: PLC0415

    cores = usable_cores()
    if ranks > cores and not scenario.extrapolate:
        raise CalibrationError(
            f"deployment.gpus = {ranks}: this host has {cores} cores, so {ranks} ranks cannot be "
            "measured at once; simulate on another profile, or set extrapolate=true"
        )
    measured = sorted({count for count in (1, 2, ranks) if count <= cores})
    request = CalibrationRequest(
        model=scenario.model,
        vae=scenario.vae,
        resolution=scenario.resolution,
        ranks=tuple(measured),
        window=scenario.deployment.window,
        sink=scenario.deployment.sink,
    )
    name = host_profile_name(scenario.model, scenario.vae, scenario.resolution)
    with progress("calibrating", 1.0) as bar:
        budget = DEFAULT_BUDGET_S if budget_s is None else budget_s
        return calibrate(request, out=profile_path(name), budget_s=budget, on_progress=bar.at)


def latency_of(profile: "Profile", scenario: Scenario) -> "LatencyModel":
    """The latency model for *scenario*'s ranks; cards do not share, CPU ranks do."""
    shared = profile.request["device"] == "cpu"
    ranks = scenario.deployment.gpus if shared else 1
    return profile.latency_model(ranks, scenario.extrapolate)


def itemsize_of(profile: "Profile") -> int:
    """Bytes per element on the profile's device: float32 on a CPU, bfloat16 on a card."""
    return 4 if profile.request["device"] == "cpu" else 2


def lazily(profile: "Profile", scenario: Scenario) -> Callable[[], "LatencyModel"]:
    """The latency model, made only if a policy asks for it."""
    return lambda: latency_of(profile, scenario)
