"""What travels with an item beside its rows: what ranks measured, and who holds which blocks next.

It rides in the item's header, so neither a measurement nor a decision needs a message of its own.
"""

from dataclasses import dataclass, field, replace

from streamtwin.core.records import SpanKind


@dataclass(frozen=True, slots=True)
class RankTimes:
    """Seconds that one rank spent on an item: in its blocks, in the VAE, and receiving.

    A receive that was posted ahead counts as a whole, hidden or not.
    What the last rank decodes, it decodes behind sending: that time comes with the next item.
    """

    dit_s: float = 0.0
    vae_s: float = 0.0
    hop_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Slip:
    """`partition`: blocks of each rank behind this item; empty where it remains as it is.

    `times` are those of the ranks that the item has passed.
    """

    partition: tuple[int, ...] = ()
    times: tuple[RankTimes, ...] = ()

    def passed(self, times: RankTimes) -> "Slip":
        """The slip behind the next rank, which took *times*."""
        return replace(self, times=(*self.times, times))


NOTHING = Slip()
"""The slip of an item of which there is nothing to say."""


@dataclass(slots=True)
class Meter:
    """Adds up what one rank spends between sending an item and sending the next."""

    _spent_s: dict[str, float] = field(default_factory=dict)

    def note(self, kind: SpanKind, seconds: float) -> None:
        """Count a span of *kind*."""
        self._spent_s[kind] = self._spent_s.get(kind, 0.0) + seconds

    def read(self) -> RankTimes:
        """What was counted since the last reading."""
        spent, self._spent_s = self._spent_s, {}
        vae_s = spent.get("encode", 0.0) + spent.get("decode", 0.0)
        hop_s = spent.get("transfer", spent.get("hop", 0.0))
        return RankTimes(spent.get("dit", 0.0), vae_s, hop_s)
