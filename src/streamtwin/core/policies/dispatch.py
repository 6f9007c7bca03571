"""Which waiting chunk enters the pipeline next?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class WaitingChunk:
    """A chunk in the input queue: when it was complete, when its playout is due, its class's rank."""

    session: int
    chunk: int
    released_s: float
    deadline_s: float
    priority: int = 0


DispatchPolicy = Callable[[Sequence[WaitingChunk]], int]


def fifo(waiting: Sequence[WaitingChunk]) -> int:
    """Take the chunk that has waited longest."""
    return min(range(len(waiting)), key=lambda i: (waiting[i].released_s, i))


def earliest_deadline(waiting: Sequence[WaitingChunk]) -> int:
    """Take the chunk whose playout is due first; ties go to the longest waiting."""
    return min(range(len(waiting)), key=lambda i: (waiting[i].deadline_s, waiting[i].released_s, i))


def priority(waiting: Sequence[WaitingChunk]) -> int:
    """Take a chunk of the class with the highest priority; among these the longest waiting."""
    return min(range(len(waiting)), key=lambda i: (-waiting[i].priority, waiting[i].released_s, i))


DISPATCH: dict[str, DispatchPolicy] = {
    "fifo": fifo,
    "earliest_deadline": earliest_deadline,
    "priority": priority,
}

Order = Callable[[WaitingChunk], tuple[float, ...]]

DISPATCH_ORDER: dict[str, Order] = {
    "fifo": lambda chunk: (chunk.released_s,),
    "earliest_deadline": lambda chunk: (chunk.deadline_s, chunk.released_s),
    "priority": lambda chunk: (-chunk.priority, chunk.released_s),
}
"""Policies that always take the first chunk of an order, ties in order of the sessions: they are
answered without looking at every chunk. A policy that is none is left out."""
