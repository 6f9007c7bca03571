"""May one more session begin?"""

from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class SessionView:
    """What rank 0 knows when a session asks, or the first in line is asked again.

    `inside` sessions run, `ahead` wait in front of this one; the memory of the ranks has room for
    the states of `room`. For policies
    that ask for predictions (otherwise all 0), with this session among them: every `due_s` seconds
    a chunk comes, every `period_s` one can leave at the earliest; a chunk takes `latency_s`, and
    the strictest of them was promised `promised_s`.
    """

    inside: int
    ahead: int
    room: int
    due_s: float = 0.0
    period_s: float = 0.0
    latency_s: float = 0.0
    promised_s: float = 0.0

    @property
    def slack_s(self) -> float:
        """Seconds by which the tighter of rate and latency is kept; negative: one is broken."""
        return min(self.due_s - self.period_s, self.promised_s - self.latency_s)

    def saw(self) -> dict[str, float]:
        """The view as numbers by name, for the record."""
        return asdict(self)


SessionAdmissionPolicy = Callable[[SessionView], bool]


def accept_all(view: SessionView) -> bool:  # noqa: ARG001 - the family's signature
    """Let everybody in (the reference)."""
    return True


def memory(view: SessionView) -> bool:
    """Let in whose state fits: keys, values and VAE caches beside those that are there."""
    return view.inside < view.room


def predicted_slack(view: SessionView) -> bool:
    """Let in as long as all, the new one included, are predicted to get what they were promised."""
    return view.slack_s >= 0


def memory_and_slack(view: SessionView) -> bool:
    """Let in whom both memory and predicted slack let in."""
    return memory(view) and predicted_slack(view)


SESSION_ADMISSION: dict[str, SessionAdmissionPolicy] = {
    "accept_all": accept_all,
    "memory": memory,
    "predicted_slack": predicted_slack,
    "memory_and_slack": memory_and_slack,
}

PREDICTS_SESSIONS: frozenset[str] = frozenset({"predicted_slack", "memory_and_slack"})
"""Policies that weigh predicted times, for which a latency model must be there."""

NEEDS_ROOM: frozenset[str] = frozenset({"memory", "memory_and_slack"})
"""Policies that ask how many sessions memory holds."""
