"""What does rank 0's book say after a rank has died: what is lost, what is done again?

The book of a run that goes on is changed in place; no time passes here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from streamtwin.core.controller import Controller
from streamtwin.core.door import Door
from streamtwin.core.noise_state import NoiseState
from streamtwin.core.policies.dispatch import WaitingChunk
from streamtwin.core.records import ChunkRecord
from streamtwin.core.ring import Ring
from streamtwin.core.sessions import SessionBook

Key = tuple[int, int]
"""Session, and the camera's number of a chunk."""


@dataclass(frozen=True, slots=True)
class Casualties:
    """What a death found: chunks that are lost, those to be done again, sessions with state."""

    lost: Mapping[Key, ChunkRecord]
    again: Mapping[Key, ChunkRecord]
    frames_lost: int
    sessions: int

    def saw(self) -> dict[str, float]:
        """The same as the record of the death has it."""
        return {
            "chunks_lost": len(self.lost),
            "chunks_again": len(self.again),
            "frames_lost": self.frames_lost,
            "sessions": self.sessions,
        }


def begin_again(controller: Controller, state: str) -> Casualties:
    """Let *controller* go on behind a death, with the *state* of sessions lost or restored.

    Chunks that were taken and have not been emitted are lost, or stand at the head of their
    session's queue again. The lanes are empty either way.
    """
    recorder, shape = controller.recorder, controller.plan.scenario.shape
    under_way = {
        key: chunk for key, chunk in sorted(recorder.chunks.items()) if chunk.outcome == "in_flight"
    }
    holding = sum(_holds(book, under_way) for book in controller.books)
    if state == "restored":
        controller.mixed |= _mixed(controller, under_way)
        for key in reversed(under_way):
            del recorder.chunks[key]
        _put_back(controller, under_way)
        casualties = Casualties({}, under_way, 0, holding)
    else:
        for key, chunk in under_way.items():
            recorder.chunks[key] = replace(chunk, outcome="lost")
        _forget(controller)
        frames = sum(shape.last_frame(c) - shape.first_frame(c) + 1 for _, c in under_way)
        casualties = Casualties(under_way, {}, frames, holding)
    _empty_lanes(controller)
    return casualties


def _holds(book: SessionBook, under_way: Mapping[Key, ChunkRecord]) -> bool:
    """Whether ranks keep anything for the session of *book*."""
    last = book.queue.ended() and all(session != book.session for session, _ in under_way)
    return book.taken > 0 and not last


def _mixed(controller: Controller, under_way: Mapping[Key, ChunkRecord]) -> dict[Key, float]:
    """The noise rates that chunks *under_way* have had, which policies are not asked for again."""
    decided = (one for one in controller.recorder.decisions if one.family == "noise")
    rates = {(one.session, one.chunk): float(one.chose) for one in decided}
    return {key: rates[key] for key in under_way if key in rates}


def _put_back(controller: Controller, under_way: Mapping[Key, ChunkRecord]) -> None:
    """Let the chunks *under_way* be next in their sessions, in order."""
    for (session, number), chunk in reversed(list(under_way.items())):
        book = controller.books[session]
        queue = book.queue
        due_s = queue.clock.deadline_s(number)
        head = WaitingChunk(session, number, chunk.released_s, due_s, queue.priority)
        queue.put_back(head)
        book.taken -= 1
        book.started = book.started and book.taken > 0
        if controller.plan.scenario.workload.entry.policy != "accept_all":
            controller.entrance.inside.add(session)


def _forget(controller: Controller) -> None:
    """Let every session begin again as if nothing of it had been taken."""
    conditioning = controller.plan.scenario.conditioning
    for book in controller.books:
        if book.taken:
            book.taken, book.started, book.noise = 0, False, NoiseState(conditioning)
            if book.queue.ended():
                controller.entrance.left([book.session])


def _empty_lanes(controller: Controller) -> None:
    """A ring without rows, whose items go on being counted, before the door as it is now."""
    old, plan = controller.ring, controller.plan
    controller.ring = Ring(old.lanes, old.steps, old.max_rows)
    controller.ring.sent_items = old.sent_items
    lines = plan.lanes if controller.rules.by_session else 1
    controller.door = Door(controller.books, lines, plan.scenario.workload.dispatch)
