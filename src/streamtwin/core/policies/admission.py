"""Is a chunk that the camera releases taken into the input queue?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Admission = Literal["accept", "drop_new", "drop_oldest", "drop_waiting"]


@dataclass(slots=True)
class QueueView:
    """The input queue at the moment of release: chunks waiting, and its bound."""

    waiting: int
    max_waiting: int


AdmissionPolicy = Callable[[QueueView], Admission]


def accept_all(view: QueueView) -> Admission:  # noqa: ARG001 - the family's signature
    """Take every chunk: nothing is lost and latency is unbounded (the reference)."""
    return "accept"


def drop_newest(view: QueueView) -> Admission:
    """Refuse the new chunk when the queue is full: what waits is served in full."""
    return "accept" if view.waiting < view.max_waiting else "drop_new"


def drop_oldest(view: QueueView) -> Admission:
    """Give up the longest waiting chunk when the queue is full: the picture stays fresh."""
    return "accept" if view.waiting < view.max_waiting else "drop_oldest"


def keep_newest(view: QueueView) -> Admission:
    """Give up all that wait when the queue is full: one jump instead of a chunk lost at a time."""
    return "accept" if view.waiting < view.max_waiting else "drop_waiting"


ADMISSION: dict[str, AdmissionPolicy] = {
    "accept_all": accept_all,
    "drop_newest": drop_newest,
    "drop_oldest": drop_oldest,
    "keep_newest": keep_newest,
}
