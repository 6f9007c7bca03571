"""What goes wrong while the stream runs: a card that slows, a link that degrades, a rank that dies?"""

from math import inf
from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamtwin.core.errors import ScenarioError
from streamtwin.core.pace import Pace, Slow
from streamtwin.core.section import Section

Rank = Annotated[int, Field(ge=0)]
Instant = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=1, le=1000)]


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


class LostRank(Section):
    """A rank that dies, and is replaced after a cold start.

    Nothing moves until the new one is there, with the process started and its weights read; all
    items under way are lost. `lost`: with them all sessions' keys, values and caches, so every
    session begins anew with its next chunk. `restored`: the state is read as well, and the chunks
    that were under way enter again.
    """

    rank: Rank
    at_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    state: Literal["lost", "restored"] = "lost"
    start_s: Annotated[
        Instant, Field(description="until the process of the new rank runs; 15 s is an assumption")
    ] = 15.0
    load_bytes_per_s: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="at which weights and state are read; 2e9, a fast disk, is an assumption",
        ),
    ] = 2.0e9


class Trouble(Section):
    """All that goes wrong."""

    slow_cards: list[SlowCard] = Field([])
    slow_links: list[SlowLink] = Field([])
    lost_ranks: list[LostRank] = Field([])

    def pace_of(self, rank: int) -> Pace | None:
        """What *rank* makes of work; None where its card is never slow."""
        slow = [one.slow for one in self.slow_cards if one.rank == rank]
        return Pace(slow) if slow else None

    def pace_between(self, sender: int, receiver: int) -> Pace | None:
        """What the link makes of transfers; None where it is never slow."""
        link = (sender, receiver)
        slow = [one.slow for one in self.slow_links if (one.sender, one.receiver) == link]
        return Pace(slow) if slow else None

    @property
    def any(self) -> bool:
        """Whether anything goes wrong."""
        return bool(self.slow_cards or self.slow_links or self.lost_ranks)
