"""What does a rank tell its launcher, and which of several failures came first?"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from streamtwin.runtime.memory_error import is_out_of_memory

Kind = Literal["ready", "progress", "result", "died", "error", "lost"]

FAILURES: tuple[Kind, ...] = ("died", "error", "lost")
"""How a rank ends early, the likeliest cause first.

`died`: the process is gone without a word. `error`: it raised something of its own. `lost`: its
connection to a peer broke, which is what one rank's end looks like to its neighbours.
"""

LOST_WORDS = ("connection closed", "connection re", "broken pipe", "gloo", "nccl")
"""What Gloo, NCCL and the socket layer say when a peer is gone; "re": reset, refused."""


class Note(NamedTuple):
    """What a rank tells the launcher, and when, on the clock that all ranks of a host share."""

    rank: int
    kind: Kind
    value: Any
    at_s: float


def failure_kind(error: BaseException) -> Kind:
    """Whether a rank failed by itself or only noticed that another is gone."""
    if isinstance(error, ConnectionError):
        return "lost"
    if is_out_of_memory(error):  # of a card it may come as an error of NCCL
        return "error"
    # torch raises bare RuntimeErrors here, so the text is all there is to go by
    text = str(error).lower()
    broken = isinstance(error, RuntimeError) and any(word in text for word in LOST_WORDS)
    return "lost" if broken else "error"


def first_failure(failures: Iterable[Note]) -> Note:
    """Choose the failure that the others follow from.

    Time alone does not tell: a killed rank says nothing, so its neighbours are heard before it.
    """
    return min(failures, key=lambda note: (FAILURES.index(note.kind), note.at_s))
