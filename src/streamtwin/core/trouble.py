"""What goes wrong while the stream runs: a card that slows, a link that degrades, a rank that dies?"""

from collections.abc import Collection
from math import inf
from typing import Annotated

from pydantic import Field, model_validator

from streamtwin.core.edges import edges_of
from streamtwin.core.errors import ScenarioError
from streamtwin.core.loss import ColdStart, LostRank
from streamtwin.core.pace import Pace, Slow
from streamtwin.core.protocol import Layout
from streamtwin.core.section import Seconds, Section

Rank = Annotated[int, Field(ge=0)]
Instant = Seconds
Factor = Annotated[float, Field(ge=1, le=1000)]

MAX_LOST = 1000
"""Most deaths of one scenario."""


class _SlowTime(Section):
    """A time in which something takes longer."""

    from_s: Annotated[Instant, Field(description="since the start of the stream")] = 0.0
    until_s: Annotated[Instant | None, Field(description="null: until the end")] = None
    factor: Annotated[Factor, Field(description="times as long as otherwise")]

    @model_validator(mode="after")
    def _lasts(self) -> "_SlowTime":
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ScenarioError(
                f"trouble: until_s = {self.until_s:g} is not after from_s = {self.from_s:g}"
            )
        return self

    @property
    def slow(self) -> Slow:
        """The same for `Pace`."""
        return Slow(self.from_s, inf if self.until_s is None else self.until_s, self.factor)


class SlowCard(_SlowTime):
    """A card that is throttled: all services of its rank take longer."""

    rank: Rank


class SlowLink(_SlowTime):
    """A link that is degraded: its transfers take longer."""

    sender: Rank
    receiver: Rank


class Trouble(Section):
    """All that goes wrong.

    What is slow or cold is so in every replica, on the same ranks; a rank that dies is one of all.
    """

    slow_cards: list[SlowCard] = Field([])
    slow_links: list[SlowLink] = Field([])
    lost_ranks: Annotated[
        list[LostRank], Field(max_length=MAX_LOST, description="ranks that die and are replaced")
    ] = Field([])
    cold_start: Annotated[
        ColdStart | None,
        Field(description="ranks begin without weights while sessions come already; null: warm"),
    ] = None

    def pace_of(self, ranks: Collection[int]) -> Pace | None:
        """What *ranks*, which work together, make of work; None where no card is ever slow.

        The slowest of them holds all up.
        """
        slow = [[one.slow for one in self.slow_cards if one.rank == rank] for rank in ranks]
        return Pace(*filter(None, slow)) if any(slow) else None

    def pace_between(self, sender: int, receiver: int) -> Pace | None:
        """What the link makes of transfers; None where it is never slow."""
        link = (sender, receiver)
        slow = [one.slow for one in self.slow_links if (one.sender, one.receiver) == link]
        return Pace(slow) if slow else None

    def of_copy(self, replica: int, gpus: int) -> "Trouble":
        """What befalls copy number *replica* of a pipeline of *gpus* ranks, as if it were alone."""
        own = range(replica * gpus, (replica + 1) * gpus)
        lost = [
            one.model_copy(update={"rank": one.rank - own.start})
            for one in self.lost_ranks
            if one.rank in own
        ]
        return self.model_copy(update={"lost_ranks": lost})

    @property
    def stands(self) -> bool:
        """Whether a ring ever stands still."""
        return bool(self.lost_ranks) or self.cold_start is not None

    @property
    def any(self) -> bool:
        """Whether anything goes wrong."""
        return bool(self.slow_cards or self.slow_links) or self.stands


def check_trouble(trouble: Trouble, layout: Layout) -> None:
    """Refuse trouble with ranks and links that *layout* does not have.

    Raises:
        ScenarioError: names the key and what there is.
    """
    for number, card in enumerate(trouble.slow_cards):
        if card.rank >= layout.gpus:
            raise ScenarioError(
                f"trouble.slow_cards.{number}.rank = {card.rank}: with deployment.gpus = "
                f"{layout.gpus} ranks are numbered 0 to {layout.gpus - 1}"
            )
    links = [(edge.sender, edge.receiver) for edge in edges_of(layout)]
    for number, link in enumerate(trouble.slow_links):
        if (link.sender, link.receiver) not in links:
            known = ", ".join(f"{sender} to {receiver}" for sender, receiver in links) or "none"
            raise ScenarioError(
                f"trouble.slow_links.{number}: there is no link from rank {link.sender} to "
                f"{link.receiver}; links are {known}"
            )
