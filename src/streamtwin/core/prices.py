"""What does a card cost by the hour, and who says so?"""

from dataclasses import dataclass

from streamtwin.core import catalog
from streamtwin.core.errors import ScenarioError
from streamtwin.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Price:
    """USD per hour of one card, and where that comes from."""

    usd_per_hour: float
    source: str


def price_of(card: str, scenario: Scenario) -> Price | None:
    """The price of *card*: the scenario's own, else the catalogue's; None: nobody knows."""
    if card in scenario.prices:
        return Price(scenario.prices[card], "prices of the scenario")
    known = catalog.gpu(card)
    if known.price_usd_per_hour is None:
        return None
    return Price(known.price_usd_per_hour, known.price_source or known.source)


def check_prices(scenario: Scenario) -> None:
    """Refuse prices of cards that nobody knows.

    Raises:
        ScenarioError: names the key and the legal choices.
    """
    for card in scenario.prices:
        if card not in catalog.names("gpus"):
            raise ScenarioError(
                f"prices.{card}: no card of the catalogue; choose one of "
                f"{', '.join(catalog.names('gpus'))}"
            )
