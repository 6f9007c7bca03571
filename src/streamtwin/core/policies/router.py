"""Which copy of the pipeline takes a session that comes?

It stays there: its state is there. A router knows which sessions it has sent where, which of them
have ended, and what was predicted; it does not see into the pipelines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One copy, as the router sees it when a session comes.

    `routed`: sessions that it was ever sent; `open`: those of them that have not ended yet;
    `turn_s`: predicted seconds of a turn that serves one chunk; `chunk_s`: seconds in which a
    session's camera makes one, 0 where its input always waits.
    """

    routed: int
    open: int
    turn_s: float
    chunk_s: float

    @property
    def slack_s(self) -> float:
        """Predicted seconds to spare until each session's next chunk, with one session more."""
        return self.chunk_s - (self.open + 1) * self.turn_s

    @classmethod
    def seen(cls, saw: Mapping[str, float]) -> "list[ReplicaView]":
        """The views, one a copy, that a record of them stands for."""
        copies = sum(key.startswith("routed.") for key in saw)
        counts = [(int(saw[f"routed.{i}"]), int(saw[f"open.{i}"])) for i in range(copies)]
        return [
            cls(*count, saw[f"turn_s.{i}"], saw[f"chunk_s.{i}"]) for i, count in enumerate(counts)
        ]


RouterPolicy = Callable[[Sequence[ReplicaView]], int]


def round_robin(views: Sequence[ReplicaView]) -> int:
    """One after the other, whatever has become of the sessions."""
    return sum(view.routed for view in views) % len(views)


def least_sessions(views: Sequence[ReplicaView]) -> int:
    """The copy with the fewest sessions that have not ended; of several, the first."""
    return min(range(len(views)), key=lambda replica: views[replica].open)


def most_slack(views: Sequence[ReplicaView]) -> int:
    """The copy that is predicted to have most time to spare with one session more."""
    return max(range(len(views)), key=lambda replica: (views[replica].slack_s, -replica))


def fill_first(views: Sequence[ReplicaView]) -> int:
    """The first copy that is predicted to keep up with one session more; else as `most_slack`.

    Leaves whole copies free, which may then be switched off.
    """
    keeps_up = (replica for replica, view in enumerate(views) if view.slack_s >= 0)
    return next(keeps_up, most_slack(views))


ROUTER: dict[str, RouterPolicy] = {
    "round_robin": round_robin,
    "least_sessions": least_sessions,
    "most_slack": most_slack,
    "fill_first": fill_first,
}

WEIGHS_NOTHING = frozenset({"round_robin", "least_sessions"})
"""Policies that need no predicted times."""
