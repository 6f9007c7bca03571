"""Can this be run here at all? Asked before anything is measured or written."""

from typing import TYPE_CHECKING

from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.core.plan import Plan


def check_hang_timeout(seconds: float) -> None:
    """Refuse a timeout that no run could keep.

    Raises:
        UserError: it is not a positive number.
    """
    if not 0 < seconds < float("inf"):
        raise UserError(f"--hang-timeout {seconds}: give a positive number of seconds")


def check_budget(seconds: float | None) -> None:
    """Refuse a --budget that no measuring could keep; None is the default.

    Raises:
        UserError: it is not a positive number.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UserError(f"--budget {seconds}: give a positive number of seconds")


def check_simulated_only(scenario: Scenario, device: str) -> None:
    """Refuse to run on *device* what only the simulator does.

    Cards and links that a scenario names describe where it runs, and are taken for true.

    Raises:
        ScenarioError: names the key, its value, and what to do instead.
    """
    deployment = scenario.deployment
    if scenario.trouble.stands:
        key = "lost_ranks" if scenario.trouble.lost_ranks else "cold_start"
        raise ScenarioError(
            f"{scenario.name}: trouble.{key} can be simulated only, not run on {device}: a real run "
            "ends with an error when a rank dies, and its stream starts when all weights are loaded"
        )
    if scenario.trouble.any:
        raise ScenarioError(
            f"{scenario.name}: trouble can be simulated only, not run on {device}: give "
            "deployment.slowdown, which slows a rank down for the whole run"
        )
    remedies = {
        "replicas": (deployment.replicas > 1, "run one pipeline with the sessions of one copy"),
        "context": (deployment.context == "chunk", "choose deployment.context = window"),
        "weights": (
            deployment.weights == "replicated",
            "ranks read their own blocks only; choose deployment.weights = sharded",
        ),
        "fleet": (
            bool(deployment.fleet) and device == "cpu",
            "the CPU is no such card; give deployment.gpus as a number, or --device cuda",
        ),
    }
    for key, (asked, remedy) in remedies.items():
        if asked:
            value = "a list of cards" if key == "fleet" else getattr(deployment, key)
            raise ScenarioError(
                f"{scenario.name}: deployment.{'gpus' if key == 'fleet' else key} = {value} can be "
                f"simulated only, not run on {device}: {remedy}"
            )


def check_can_run(scenario: Scenario, device: str, ranks_here: int | None = None) -> None:
    """Refuse what *device* cannot run, before anything is measured or written.

    *ranks_here* of the ranks run on this host; without it all do.

    Raises:
        UserError: there is no such device, or a file of the weights is wrong.
        ScenarioError: model, VAE or partition do not go together, or the device's memory does
            not hold the scenario evenly split.
    """
    from streamtwin.core.layout import evenly, lay_out  # noqa: PLC0415
    from streamtwin.core.memory import check_memory  # noqa: PLC0415
    from streamtwin.core.session_room import one_session  # noqa: PLC0415
    from streamtwin.runtime.devices import check_device, check_speed, free_bytes  # noqa: PLC0415

    check_simulated_only(scenario, device)
    check_device(device, ranks_here or scenario.deployment.gpus)
    check_speed(scenario.deployment, device)
    # what fits is asked before anything is predicted, so of no policy that weighs predictions
    plan = lay_out(evenly(scenario), itemsize=4 if device == "cpu" else 2)
    capacity_bytes = free_bytes(device, ranks_here or plan.ranks)
    check_memory(one_session(plan), capacity_bytes, device)
    if any(value is not None for value in scenario.weights.model_dump().values()):
        from streamtwin.runtime.given_files import check_files  # noqa: PLC0415 - loads torch

        check_files(plan)


def fitted(plan: "Plan", device: str, ranks_here: int | None = None) -> "Plan":
    """*plan* as it fits *device*: it begins so, and no move takes a rank beyond its memory.

    Raises:
        ScenarioError: the partition that its policy has decided does not fit.
    """
    from streamtwin.core.memory import check_memory, with_room  # noqa: PLC0415
    from streamtwin.core.session_room import with_session_room  # noqa: PLC0415
    from streamtwin.runtime.devices import free_bytes  # noqa: PLC0415

    capacity_bytes = free_bytes(device, ranks_here or plan.ranks)
    plan = with_session_room(plan, capacity_bytes)
    check_memory(plan, capacity_bytes, device)
    return with_room(plan, capacity_bytes)


def check_one_profile(variants: dict[str, Scenario]) -> None:
    """Refuse variants on several profiles: all are compared on one host, measured once.

    Raises:
        UserError: names the profiles.
    """
    profiles = {one.profile for one in variants.values()}
    if len(profiles) > 1:
        raise UserError(
            f"validate: variants name the profiles {', '.join(sorted(profiles))}; real runs are of "
            "one host, so give all variants the same profile"
        )
