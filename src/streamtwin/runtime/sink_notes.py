"""What did a rank decide about its sinks, as it is recorded?"""

from collections.abc import Iterable

from streamtwin.core.records import Decision
from streamtwin.kernels.stage import SessionState


def replaced(
    states: Iterable[SessionState], blocks: range, rank: int, now_s: float
) -> list[Decision]:
    """The sinks that the last pass of *rank*, which holds *blocks*, replaced; each once."""
    decisions = []
    for sinks in (state.sinks for state in states):
        for one in sinks.replaced:
            about = (one.row.session, one.row.chunk)
            saw = {**one.saw, "block": blocks[one.block]}
            decisions.append(Decision(now_s, rank, "sink", sinks.policy, *about, saw, one.slot))
        sinks.replaced.clear()
    return decisions


def kept(states: Iterable[SessionState], rank: int, now_s: float) -> list[Decision]:
    """How often since the last replacement nothing was replaced, for sessions that leave.

    With the view on which a replacement was nearest: the others are too many to be noted.
    """
    return [
        Decision(
            now_s,
            rank,
            "sink",
            state.sinks.policy,
            state.session,
            -1,
            {
                "kept": state.sinks.kept,
                **(state.sinks.nearest.saw() if state.sinks.nearest else {}),
            },
            "kept",
        )
        for state in states
        if state.sinks.kept
    ]
