"""Whose chunk is next in a line of sessions, by a dispatch policy?

A policy that is an order of chunks (`DISPATCH_ORDER`) is answered from a heap. Any other is asked
with all chunks that wait, in order of their sessions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from streamtwin.core.policies.dispatch import DISPATCH, DISPATCH_ORDER, Order, WaitingChunk
from streamtwin.core.told_line import ToldLine

Entry = tuple[tuple[float, ...], int, int]
"""A chunk's place in an order, its session, its number."""


@dataclass(slots=True)
class Choice:
    """The chunk that a policy takes out of `waiting` many, of which `oldest` waits longest."""

    chosen: WaitingChunk
    oldest: WaitingChunk
    waiting: int


class Line:
    """Sessions that each have one chunk at their head, or none at present."""

    def __init__(self, dispatch: str, number: int = 0) -> None:
        self.dispatch = dispatch
        self.told = ToldLine(number)
        self.to_come = 0
        """Sessions of it that run and will still bring chunks."""
        self._heads: dict[int, WaitingChunk] = {}
        by_age = DISPATCH_ORDER["fifo"]
        order = DISPATCH_ORDER.get(dispatch)
        self._by_age = _Heap(by_age, self._heads)
        self._by_order = self._by_age if order is by_age else order and _Heap(order, self._heads)

    def __len__(self) -> int:
        return len(self._heads)

    @property
    def chunks(self) -> list[WaitingChunk]:
        """What waits, in order of the sessions."""
        return [self._heads[session] for session in sorted(self._heads)]

    def stands(self, session: int, head: WaitingChunk | None) -> None:
        """*session* has *head* at its head; None: nothing, or it stands here no longer."""
        if head is self._heads.get(session):
            return
        self.told.changed(session)
        if head is None:
            del self._heads[session]
            return
        self._heads[session] = head
        self._by_age.push(head)
        if self._by_order is not None and self._by_order is not self._by_age:
            self._by_order.push(head)

    def tell(self, choice: Choice) -> dict[str, float]:
        """What a log has to say of the line at *choice*, whose chunk is taken before the next turn."""
        return self.told.tell(self._heads, choice.chosen)

    def choose(self, count: int) -> list[Choice]:
        """The *count* chunks that the policy takes one after the other; they stay in the line."""
        if count == 1 and len(self._heads) == 1:
            [only] = self._heads.values()
            return [Choice(only, only, 1)]
        if self._by_order is None:
            return list(self._asked(count))
        taken: set[int] = set()
        choices = []
        for waiting in range(len(self), len(self) - count, -1):
            chosen, oldest = self._by_order.first(taken), self._by_age.first(taken)
            choices.append(Choice(chosen, oldest, waiting))
            taken.add(chosen.session)
        return choices

    def _asked(self, count: int) -> Iterator[Choice]:
        waiting = self.chunks
        for _ in range(count):
            oldest, many = min(waiting, key=lambda chunk: chunk.released_s), len(waiting)
            yield Choice(waiting.pop(DISPATCH[self.dispatch](waiting)), oldest, many)


class _Heap:
    """The heads of a line by an order; what has left the line is thrown away when it surfaces."""

    def __init__(self, order: Order, heads: dict[int, WaitingChunk]) -> None:
        self.order, self.heads = order, heads
        self._entries: list[Entry] = []

    def push(self, head: WaitingChunk) -> None:
        heappush(self._entries, (self.order(head), head.session, head.chunk))

    def first(self, taken: set[int]) -> WaitingChunk:
        """The first head of a session that is not in *taken*."""
        aside: list[Entry] = []
        while True:
            _, session, chunk = self._entries[0]
            head = self.heads.get(session)
            if head is not None and head.chunk == chunk and session not in taken:
                break
            entry = heappop(self._entries)
            if session in taken:
                aside.append(entry)
        for entry in aside:
            heappush(self._entries, entry)
        return head
