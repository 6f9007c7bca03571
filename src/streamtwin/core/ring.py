"""Which rows does each lane hold, which items are under way, and which result is due?

The ring of W ranks has W lanes that take turns, so item p extends item p - W: rank 0 sends an
item only while fewer than W - 1 others are out. A session's first chunk has one latent more than the
others and cannot share a pass: it takes its turns in a lane of its own, the start lane, between
those of the others. Both executors drive this object; it knows no clock and no tensor.
"""

from collections.abc import Set
from dataclasses import dataclass, field

START = -1
"""Number of the start lane."""


@dataclass(slots=True)
class Row:
    """One chunk at one noise level.

    `chunk` is its number at the camera, `ordinal` its number among the admitted chunks of the
    session (they differ once a chunk has been dropped), `step` its denoising step.
    """

    session: int
    chunk: int
    ordinal: int
    step: int


@dataclass(slots=True)
class Item:
    """What one turn of one lane carries; `leaving` names the sessions of which nothing follows."""

    index: int
    rows: tuple[Row, ...]
    leaving: tuple[int, ...] = ()

    @property
    def first(self) -> bool:
        """Whether this is a turn of the first chunk of a session."""
        return self.rows[0].ordinal == 0

    def finished(self, steps: int) -> tuple[int, ...]:
        """Positions of the rows that leave the ring after this turn."""
        return tuple([i for i, row in enumerate(self.rows) if row.step == steps - 1])

    def results(self, steps: int) -> "Item | None":
        """Its rows that leave the ring after this turn; None if all go on."""
        done = tuple(self.rows[position] for position in self.finished(steps))
        return Item(self.index, done, self.leaving) if done else None


@dataclass(slots=True)
class Ring:
    """Rank 0's book of the lanes."""

    lanes: int
    steps: int
    max_rows: int
    held: dict[int, tuple[Row, ...]] = field(init=False, default_factory=dict)
    outstanding: list[tuple[Item, int]] = field(init=False, default_factory=list)
    """Items under way, the oldest first, each with its lane."""
    sent_items: int = field(init=False, default=0)
    next_lane: int = field(init=False, default=0)
    last_lane: int = field(init=False, default=0)

    def rows(self, lane: int) -> tuple[Row, ...]:
        """Rows that wait in *lane* for its next turn."""
        return self.held.get(lane, ())

    def out(self, lane: int) -> bool:
        """Whether an item of *lane* is under way."""
        for _, own in self.outstanding:  # noqa: SIM110 - asked at every turn: three times as fast
            if own == lane:
                return True
        return False

    def in_order(self) -> list[int]:
        """The lanes, beginning with the one whose turn it is."""
        return [(self.next_lane + offset) % self.lanes for offset in range(self.lanes)]

    def compose(self, lane: int, new: tuple[Row, ...], ended: Set[int]) -> Item:
        """The next item: the *new* rows and those of *lane*; rows of a session stand together.

        Sessions in *ended* bring nothing new: each leaves with the last of its rows.
        """
        assert not self.out(lane), f"lane {lane} is under way"
        held = self.rows(lane)
        places = {row.session * self.steps + row.step: row for row in (*new, *held)}
        assert len(places) == len(new) + len(held), "a KV row is taken"
        rows = tuple([places[place] for place in sorted(places)])
        assert 0 < len(rows) <= (self.max_rows if lane != START else 1)
        return Item(self.sent_items, rows, self._leaving(lane, rows, ended) if ended else ())

    def _leaving(self, lane: int, rows: tuple[Row, ...], ended: Set[int]) -> tuple[int, ...]:
        """Sessions that have *ended*, of which an item of *lane* with *rows* is the last."""
        done = {row.session for row in rows if row.step == self.steps - 1}
        staying = {row.session for row in rows if row.step < self.steps - 1}
        leaving = (done & ended) - staying
        return tuple(sorted(leaving - self._elsewhere(lane))) if leaving else ()

    def due(self) -> bool:
        """Whether a result must come back before the next item may be sent."""
        return len(self.outstanding) >= max(1, self.lanes - 1)

    def sent(self, item: Item, lane: int) -> None:
        """Item *item* is on its way; in a ring of one rank it is back at once."""
        self.outstanding.append((item, lane))
        self.held[lane] = ()
        self.sent_items += 1
        self.last_lane = lane
        if lane != START:
            self.next_lane = (lane + 1) % self.lanes
        if self.lanes == 1:
            self.returned()

    def returned(self) -> Item:
        """The oldest item is back: its unfinished rows stay in their lane, one step further."""
        item, lane = self.outstanding.pop(0)
        last = self.steps - 1
        self.held[lane] = tuple(
            [
                Row(row.session, row.chunk, row.ordinal, row.step + 1)
                for row in item.rows
                if row.step < last
            ]
        )
        return item

    def empty(self) -> bool:
        """Whether no row is in any lane or under way."""
        return not self.outstanding and not any(self.held.values())

    def _elsewhere(self, lane: int) -> set[int]:
        """Sessions with rows that are in another lane or under way and not done."""
        waiting = {row.session for own, rows in self.held.items() if own != lane for row in rows}
        under_way = {
            row.session
            for item, _ in self.outstanding
            for row in item.rows
            if row.step < self.steps - 1
        }
        return waiting | under_way
