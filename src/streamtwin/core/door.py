"""Which sessions have a chunk to give or will bring one, found without a look at the others?

Whoever changes a session's book says so (`changed`); what is asked then costs the logarithm of the
number of sessions, however many of them are idle. Sessions whose chunks may enter the same lanes
stand in one line; those that have not begun stand in a line of their own.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from streamtwin.core.line import Line
from streamtwin.core.ring import START
from streamtwin.core.sessions import SessionBook


class Door:
    """Every session's book, in lines by the lanes that their chunks may enter.

    *lines* is 1 where any lane takes any session's chunks, and the number of lanes where session s
    has lane s mod *lines*. *dispatch* is the policy by which chunks are taken.
    """

    def __init__(self, books: Sequence[SessionBook], lines: int, dispatch: str) -> None:
        self.books = books
        self.fresh = Line(dispatch, START)
        """Sessions with a chunk of which nothing has entered yet."""
        self.ended: set[int] = set()
        """Sessions that bring nothing more."""
        self._lines = [Line(dispatch, number) for number in range(lines)]
        self._place: list[Line | None] = [None] * len(books)
        self._delivers = [False] * len(books)
        self._due: list[tuple[float, int]] = []
        self._due_s: list[float | None] = [None] * len(books)
        for book in books:
            self.changed(book)

    def served(self, lane: int) -> Line:
        """The sessions that run and whose chunks may enter *lane*."""
        return self.fresh if lane == START else self._lines[lane % len(self._lines)]

    def next_release_s(self) -> float | None:
        """When the next chunk of any session is released; None once all input has ended."""
        while self._due and self._due_s[self._due[0][1]] != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def release_due(self, now_s: float) -> None:
        """Let every session release the chunks whose time has come, in order of the sessions."""
        due: list[int] = []
        while (next_s := self.next_release_s()) is not None and next_s <= now_s:
            session = heappop(self._due)[1]
            self._due_s[session] = None
            due.append(session)
        for session in sorted(due):
            self.books[session].queue.release_due(now_s)
            self.changed(self.books[session])

    def changed(self, book: SessionBook) -> None:
        """Take note that a chunk of *book* was released or taken, or that it has started."""
        queue = book.queue
        session = queue.session
        next_s = queue.next_release_s()
        if next_s != self._due_s[session]:
            self._due_s[session] = next_s
            if next_s is not None:
                heappush(self._due, (next_s, session))
        own = self._lines[session % len(self._lines)]
        line = own if book.started else None if book.taken else self.fresh
        place = self._place[session]
        if line is not place:
            if place is not None:
                place.stands(session, None)
            self._place[session] = line
        if line is not None:
            line.stands(session, queue.waiting[0] if queue.waiting else None)
        ended = queue.ended()
        (self.ended.add if ended else self.ended.discard)(session)
        delivers = book.started and not ended
        if delivers != self._delivers[session]:
            self._delivers[session] = delivers
            own.to_come += 1 if delivers else -1
