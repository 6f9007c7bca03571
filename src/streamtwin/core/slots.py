"""What do the slots of one KV row hold, and where does its next chunk go?

As long as nothing is refreshed, slots follow from the frame's number (`Window.slot`). A frame
that takes over a sink does not enter the ring, so the ring then lags behind the frame's number by
the frames diverted so far, and the ring frame overwritten next is always its oldest. When
positions are restarted, the kept frames are renumbered in order of age, without gaps, so that the
newest lies directly before the new chunk: sinks and ring end up side by side and every position
stays bounded. A kept frame's place in that order only falls, so however long the stream, a key
is turned at most `window.frames` times in its life and rounding cannot add up.

The books are values. Blocks that have decided alike share one, and a book moves with its block.
"""

from dataclasses import dataclass
from typing import Self

from streamtwin.core.window import Window

EMPTY = -1
"""Stands for the frame of a slot that has not been written."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Latent frames about to be written, and under which prompt.

    Attributes:
        frame: number of the first, counted from the session's start.
        frames: how many (T').
        position: temporal position of the first.
        sink: slot of the sink that the first takes over, if any.
        prompt: number of the prompt in force.
    """

    frame: int
    frames: int
    position: int
    sink: int | None = None
    prompt: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """Book of one KV row of one block; each tuple has an entry a slot.

    Attributes:
        frames: number of the frame held, or `EMPTY`.
        positions: temporal position at which its key is rotated.
        prompts: number of the prompt under which it was written.
        diverted: frames that took over a sink instead of entering the ring.
        offset: frame number less position of the latest chunk; None before the first.
        newest: slot of the latest frame.
    """

    frames: tuple[int, ...]
    positions: tuple[int, ...]
    prompts: tuple[int, ...]
    diverted: int = 0
    offset: int | None = None
    newest: int = 0

    @classmethod
    def empty(cls, window: Window) -> Self:
        """Nothing written yet."""
        zeros = (0,) * window.frames
        return cls((EMPTY,) * window.frames, zeros, zeros)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a chunk goes.

    Attributes:
        slots: slot of each of its frames.
        turns: (slot, positions to add) of each kept key that has to be turned before.
        after: the book once the chunk has been written.
    """

    slots: tuple[int, ...]
    turns: tuple[tuple[int, int], ...]
    after: Slots


def place(held: Slots, chunk: Chunk, window: Window) -> Placement:
    """Place *chunk* into the row that *held* describes.

    Raises:
        ValueError: a sink is to be taken over that does not exist, or before the window is full.
    """
    diverted = held.diverted
    if chunk.sink is not None:
        _check_sink(held, chunk.sink, window)
        diverted += 1
    first = window.slot(chunk.frame - diverted) if chunk.sink is None else chunk.sink
    others = (window.slot(chunk.frame + i - diverted) for i in range(1, chunk.frames))
    slots = (first, *others)
    turns = _turns(held, chunk, slots)
    frames, positions, prompts = list(held.frames), list(held.positions), list(held.prompts)
    for slot, shift in turns:
        positions[slot] += shift
    for i, slot in enumerate(slots):
        frames[slot], positions[slot] = chunk.frame + i, chunk.position + i
        prompts[slot] = chunk.prompt
    offset = chunk.frame - chunk.position
    books = (tuple(frames), tuple(positions), tuple(prompts))
    return Placement(slots, turns, Slots(*books, diverted, offset, slots[-1]))


def _turns(held: Slots, chunk: Chunk, slots: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Renumber what is kept when positions do not count on from the chunk before."""
    if held.offset in {None, chunk.frame - chunk.position}:
        return ()
    kept = [s for s, frame in enumerate(held.frames) if frame != EMPTY and s not in slots]
    kept.sort(key=lambda s: held.frames[s])
    first = chunk.position - len(kept)
    shifts = ((slot, first + rank - held.positions[slot]) for rank, slot in enumerate(kept))
    return tuple((slot, shift) for slot, shift in shifts if shift)


def _check_sink(held: Slots, sink: int, window: Window) -> None:
    if not 0 <= sink < window.sink:
        raise ValueError(f"sink = {sink}: choose one of the {window.sink} sink slots")
    if EMPTY in held.frames:
        raise ValueError(f"sink = {sink}: no sink is replaced before all slots have been written")
