"""What does somebody who watches the stream see: when it starts, stalls, and how late it is?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

ON_TIME_S = 1e-6
"""A chunk that comes no later than this after its turn is on time: clocks round."""


@dataclass(frozen=True, slots=True)
class Playback:
    """A viewer's experience. Times in seconds since the start of the stream.

    `stalls` counts underruns: chunks that were not there when their turn came, for which the
    picture stood still, `stall_s` in all. `continuous_play_ratio` is playing time over playing plus
    stalled time. `slack_s` is how long before its turn the tightest chunk after the start arrived
    (negative: it stalled), `slacks_s` has all of them. `due_s` is each chunk's playout instant on a
    clock that never waits, which the deadline miss rate counts against.
    """

    start_s: float
    stalls: int
    stall_s: float
    continuous_play_ratio: float
    slack_s: float
    slacks_s: tuple[float, ...]
    due_s: tuple[float, ...]


def start_chunk(
    frames: Iterable[int], fps: float, start_buffer_chunks: int, start_buffer_s: float
) -> int:
    """Number of the chunk on whose arrival playing starts, the last one if the buffer never fills."""
    held, index = 0, -1
    for index, count in enumerate(frames):
        held += count
        if index + 1 >= start_buffer_chunks and held / fps >= start_buffer_s:
            break
    return index


def play(
    emitted_s: Sequence[float],
    frames: Sequence[int],
    fps: float,
    start_buffer_chunks: int,
    start_buffer_s: float = 0.0,
    idle_s: Sequence[float] = (),
) -> Playback:
    """Play chunks at *fps* once as many chunks, and as many seconds of video, have arrived.

    A chunk that is not there when its turn comes stalls the picture until it is. *idle_s* has, for
    each chunk, the seconds for which its camera had paused by then: nobody expects frames of them.
    """
    assert emitted_s, "nothing to play"
    first = start_chunk(frames, fps, start_buffer_chunks, start_buffer_s)
    start_s = emitted_s[first]
    clock_s, fixed_s = start_s, start_s
    stalls, stall_s, due_s, slacks_s = 0, 0.0, [], []
    pauses_s = (
        [after - before for before, after in pairwise((idle_s[0], *idle_s))] if idle_s else []
    )
    for index, (arrived_s, count) in enumerate(zip(emitted_s, frames, strict=True)):
        if pauses_s and index > first:  # what paused before has delayed the start already
            clock_s, fixed_s = clock_s + pauses_s[index], fixed_s + pauses_s[index]
        due_s.append(fixed_s)
        if index > first:
            slacks_s.append(clock_s - arrived_s)
        if arrived_s > clock_s:
            stalls += arrived_s > clock_s + ON_TIME_S
            stall_s += arrived_s - clock_s
            clock_s = arrived_s
        clock_s += count / fps
        fixed_s += count / fps
    playing_s = sum(frames) / fps
    return Playback(
        start_s=start_s,
        stalls=stalls,
        stall_s=stall_s,
        continuous_play_ratio=playing_s / (playing_s + stall_s),
        slack_s=min(slacks_s, default=0.0),
        slacks_s=tuple(slacks_s),
        due_s=tuple(due_s),
    )
