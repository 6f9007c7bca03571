"""How does a log say which chunks waited in a line, each of them once?

A decision names the chunks that have come to the head of their sessions since the line's decision
before it, and those that are gone without having been chosen. Whoever reads a line's decisions in
order so has all that stood in it, and a log grows with its chunks, however long lines are.
"""

from collections.abc import Iterable, Mapping, Sequence

from streamtwin.core.policies.dispatch import WaitingChunk

GONE = -1
"""Number of the chunk at the head of a session that has none any more."""

_OF_SESSION = ("chunk", "released_s", "deadline_s", "priority")
"""Names that stand before a session's number."""


class ToldLine:
    """What a log has said of one line."""

    __slots__ = ("_anew", "_changed", "_names", "_told", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._told: dict[int, WaitingChunk] = {}
        self._changed: set[int] = set()
        self._anew = True
        # a session brings many chunks under the same names
        self._names: dict[int, tuple[str, ...]] = {}

    def changed(self, session: int) -> None:
        """Another chunk stands at the head of *session*, or none."""
        self._changed.add(session)

    def tell(self, heads: Mapping[int, WaitingChunk], chosen: WaitingChunk) -> dict[str, float]:
        """What is new among *heads*, by name; *chosen*, which is one of them, goes."""
        news: dict[str, float] = {"line": self.number}
        if self._anew:
            news["anew"], self._anew = 1, False
        told = self._told
        for session in self._changed:
            head = heads.get(session)
            if head is told.get(session):
                continue
            names = self._names.get(session) or self._name(session)
            if head is None:
                news[names[0]] = GONE
                del told[session]
                continue
            chunk, released_s, deadline_s, priority = names
            news[chunk], news[released_s] = head.chunk, head.released_s
            news[deadline_s], news[priority] = head.deadline_s, head.priority
            told[session] = head
        self._changed.clear()
        told.pop(chosen.session, None)
        return news

    def _name(self, session: int) -> tuple[str, ...]:
        names = tuple(f"{name}.{session}" for name in _OF_SESSION)
        self._names[session] = names
        return names


def hear(line: dict[int, WaitingChunk], saw: Mapping[str, float]) -> list[WaitingChunk]:
    """Bring *line* to what a decision *saw* says of it; all that stands in it, by session.

    A line that begins *anew*, as it does behind a rank's death, has nothing of what was told before.

    Raises:
        KeyError: a chunk is named without its times.
    """
    if "anew" in saw:
        line.clear()
    for key, number in saw.items():
        name, dot, session = key.partition(".")
        if name != "chunk" or not dot:
            continue
        one = int(session)
        if number == GONE:
            line.pop(one, None)
            continue
        released_s, deadline_s = saw[f"released_s.{one}"], saw[f"deadline_s.{one}"]
        priority = int(saw[f"priority.{one}"])
        line[one] = WaitingChunk(one, int(number), released_s, deadline_s, priority)
    return [line[session] for session in sorted(line)]


def in_full(waiting: Iterable[WaitingChunk]) -> dict[str, float]:
    """All that is *waiting*, by name."""
    return {
        f"{name}.{chunk.session}": getattr(chunk, name) for chunk in waiting for name in _OF_SESSION
    }


def renumbered(saw: Mapping[str, float], sessions: Sequence[int]) -> dict[str, float]:
    """What was *saw*n, session number i being *sessions*[i]."""
    told = {}
    for key, number in saw.items():
        name, dot, session = key.partition(".")
        of_session = dot and name in _OF_SESSION
        told[f"{name}.{sessions[int(session)]}" if of_session else key] = number
    if "of_session" in told:
        told["of_session"] = sessions[int(told["of_session"])]
    return told
