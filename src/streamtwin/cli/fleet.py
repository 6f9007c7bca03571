"""Which latency model does each rank of a deployment ask, and how much memory has its card?"""

from typing import TYPE_CHECKING

from streamtwin.core import catalog
from streamtwin.core.errors import CalibrationError, ScenarioError, UserError
from streamtwin.core.fleet import WEAKEST
from streamtwin.core.mesh import cards_of
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.cards import Cards
    from streamtwin.core.catalog import GpuSpec, LinkSpec
    from streamtwin.core.latency import LatencyModel

PROCESSES = "gloo-loopback"
"""What joins ranks that are processes of one host, where no card is known."""


def fleet_latency(scenario: Scenario, profile: "Profile") -> "LatencyModel":
    """The models of *scenario*'s ranks; of its fleet, or all of *profile*.

    Raises:
        UserError: a card has no profile.
        CalibrationError: a profile does not know so many ranks.
    """
    from streamtwin.core.fleet import Fleet  # noqa: PLC0415

    deployment = scenario.deployment
    if not deployment.fleet:
        models = (_model(profile, scenario),) * deployment.gpus
        return Fleet(deployment, models, (), own_link(profile))
    profiles = [profile_of_cards(scenario, place) for place in range(len(deployment.fleet))]
    each = [_model(one, scenario) for one in profiles]
    models = tuple(
        model
        for cards, model in zip(deployment.fleet, each, strict=True)
        for _ in range(cards.count)
    )
    return Fleet(deployment, models, cards_of(deployment), own_link(profiles[0]))


def _model(profile: "Profile", scenario: Scenario) -> "LatencyModel":
    """The model of *profile* for *scenario*'s ranks; cards do not share, CPU ranks do."""
    deployment = scenario.deployment
    ranks = deployment.gpus * deployment.replicas if profile.device == "cpu" else 1
    return profile.latency_model(ranks, scenario.extrapolate)


def profile_of_cards(scenario: Scenario, place: int) -> "Profile":
    """The profile of entry number *place* of the scenario's cards.

    It is the one that the entry names; else the scenario's own if it is of such a card; else the
    best known of such a card that answers for the scenario's full passes and VAE: measured before
    published before derived.

    Raises:
        UserError: the card is unknown, or has no such profile.
    """
    from streamtwin.calibrate.locate import find_profile, list_profiles  # noqa: PLC0415
    from streamtwin.calibrate.profile import read_profile  # noqa: PLC0415

    cards = scenario.deployment.fleet[place]
    if cards.profile is not None:
        try:
            return read_profile(find_profile(cards.profile))
        except UserError as error:
            raise ScenarioError(f"deployment.gpus.{place}.profile: {error}") from error
    wanted = cards_of(scenario.deployment.model_copy(update={"fleet": [cards]}))[0]
    found: list[Profile] = []
    for name in sorted(list_profiles(), key=lambda one: one != scenario.profile):
        try:
            profile = read_profile(find_profile(name))
        except CalibrationError:
            continue  # it is named where it is asked for by its name
        if card_of(profile) != wanted:
            continue
        if profile.name == scenario.profile:
            return profile
        if _answers(profile, scenario):
            found.append(profile)
    if not found:
        raise ScenarioError(_no_profile(cards, place, scenario))
    return max(found, key=lambda one: WEAKEST.index(one.provenance.kind))


def _answers(profile: "Profile", scenario: Scenario) -> bool:
    """Whether *profile* answers for the fullest turn of the scenario, evenly laid out."""
    from streamtwin.core.costs import steady_ops  # noqa: PLC0415
    from streamtwin.core.layout import evenly, lay_out  # noqa: PLC0415

    plan = lay_out(evenly(scenario), itemsize=2)
    try:
        model = _model(profile, scenario)
        for op in steady_ops(plan):
            model.predict(op)
    except CalibrationError:
        return False
    return True


def _no_profile(cards: "Cards", place: int, scenario: Scenario) -> str:
    from streamtwin.calibrate.locate import list_profiles  # noqa: PLC0415

    return (
        f"deployment.gpus.{place}.gpu = {cards.gpu!r}: no profile of such a card answers for model = "
        f"{scenario.model!r} and vae = {scenario.vae!r} at {scenario.resolution}; calibrate on one, or "
        f"give the entry a profile: one of {', '.join(list_profiles())}"
    )


def card_of(profile: "Profile") -> "GpuSpec | None":
    """The catalogue's card that *profile* is of; None of a CPU, or one that is not there."""
    return catalog.gpu_called(profile.environment.device)


def card_names(scenario: Scenario, profile: "Profile") -> tuple[str, ...]:
    """The catalogue's card of every rank of *scenario*; empty where nobody knows."""
    named = cards_of(scenario.deployment)
    if named:
        return tuple(card.name for card in named)
    return cards_called(profile.environment.device, scenario.deployment.gpus)


def cards_called(device_name: str | None, ranks: int) -> tuple[str, ...]:
    """The catalogue's card of *ranks* ranks that a driver calls *device_name*; empty: none is."""
    card = None if device_name is None else catalog.gpu_called(device_name)
    return () if card is None else (card.name,) * ranks


def own_link(profile: "Profile") -> "LinkSpec":
    """The link that joins the devices of *profile* on one host."""
    card = card_of(profile)
    return catalog.link(PROCESSES if card is None else card.link)


def capacities(scenario: Scenario, profile: "Profile") -> tuple[float, ...]:
    """Bytes that each rank of *scenario* may use; empty where nobody knows.

    A card's memory less `deployment.reserve_bytes`; an equal share of a host's.
    """
    deployment = scenario.deployment
    cards = map(catalog.gpu, card_names(scenario, profile))
    if own := tuple(max(0.0, card.memory_bytes - deployment.reserve_bytes) for card in cards):
        return own
    host_bytes = profile.environment.memory_bytes
    shares = deployment.gpus * deployment.replicas
    return (host_bytes / shares,) * deployment.gpus if host_bytes else ()
