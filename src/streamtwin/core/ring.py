"""Which rows does the next item of the ring carry, and which result must be back before it?

The ring of W ranks has W lanes. Item p travels in lane p mod W and extends item p - W. Rank 0
may send item p only once the result of item p - W + 1 is back. Both executors drive this
object; it knows no clock and no tensor.
"""

from dataclasses import dataclass, field

from streamtwin.core.policies.batching import LaneView


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk at one noise level.

    `chunk` is its number at the camera, `ordinal` its number among the admitted chunks of the
    session (they differ once a chunk has been dropped), `step` its denoising step.
    """

    session: int
    chunk: int
    ordinal: int
    step: int


@dataclass(frozen=True, slots=True)
class Item:
    """What one turn of one lane carries. Item 0 and below are the turns of the first chunk."""

    index: int
    rows: tuple[Row, ...]

    @property
    def first(self) -> bool:
        """Whether this is a turn of the first chunk of the stream."""
        return self.rows[0].ordinal == 0

    def finished(self, steps: int) -> tuple[int, ...]:
        """Positions of the rows that leave the ring after this turn."""
        return tuple(i for i, row in enumerate(self.rows) if row.step == steps - 1)


def first_turns(first: Row, steps: int) -> list[Item]:
    """Turns of the first chunk: its steps one after the other, alone in the ring."""
    return [
        Item(step - steps + 1, (Row(first.session, first.chunk, first.ordinal, step),))
        for step in range(steps)
    ]


@dataclass(slots=True)
class Ring:
    """Rank 0's book of the lanes."""

    lanes: int
    steps: int
    max_rows: int
    held: list[tuple[Row, ...]] = field(init=False)
    outstanding: list[Item] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.held = [()] * self.lanes

    def view(self, index: int, waiting: int) -> LaneView:
        """What the batching policy may know of the lane of item *index*."""
        rows = self.held[index % self.lanes]
        busy = any(row.step == 0 for row in rows)
        return LaneView(
            rows=len(rows), max_rows=self.max_rows, entry_free=not busy, waiting=waiting
        )

    def compose(self, index: int, new: tuple[Row, ...]) -> Item | None:
        """Compose item *index* from the *new* rows and its lane; None when there is nothing."""
        assert not any(item.index % self.lanes == index % self.lanes for item in self.outstanding)
        rows = new + self.held[index % self.lanes]
        assert len({row.step for row in rows}) == len(rows), "two rows at one noise level"
        return Item(index, rows) if rows else None

    def due(self, index: int) -> bool:
        """Whether a result must come back before item *index* may be sent."""
        return bool(self.outstanding) and self.outstanding[0].index <= index - self.lanes + 1

    def sent(self, item: Item) -> None:
        """Item *item* is on its way; in a ring of one rank it is back at once."""
        self.outstanding.append(item)
        self.held[item.index % self.lanes] = ()
        if self.lanes == 1:
            self.returned()

    def returned(self) -> Item:
        """The oldest item is back: its unfinished rows stay in their lane, one step further."""
        item = self.outstanding.pop(0)
        self.held[item.index % self.lanes] = tuple(
            Row(row.session, row.chunk, row.ordinal, row.step + 1)
            for row in item.rows
            if row.step + 1 < self.steps
        )
        return item

    def empty(self) -> bool:
        """Whether no row is in any lane or under way."""
        return not self.outstanding and not any(self.held)
