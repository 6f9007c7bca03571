"""What does somebody who watches the stream see: when it starts, stalls, and how late it is?"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Playback:
    """A viewer's experience. Times in seconds since the start of the stream.

    `continuous_play_ratio` is playing time over playing plus stalled time. `slack_s` is how
    long before its turn the tightest chunk after the start arrived (negative: it stalled).
    `due_s` is each chunk's playout instant on a clock that never waits, which the deadline miss
    rate counts against.
    """

    start_s: float
    stalls: int
    stall_s: float
    continuous_play_ratio: float
    slack_s: float
    due_s: tuple[float, ...]


def play(
    emitted_s: Sequence[float], frames: Sequence[int], fps: float, start_buffer_chunks: int
) -> Playback:
    """Play chunks at *fps* from the moment *start_buffer_chunks* of them have arrived.

    A chunk that is not there when its turn comes stalls the picture until it is.
    """
    assert emitted_s, "nothing to play"
    start_s = emitted_s[min(start_buffer_chunks, len(emitted_s)) - 1]
    clock_s, fixed_s, slack_s = start_s, start_s, float("inf")
    stalls, stall_s, due_s = 0, 0.0, []
    for index, (arrived_s, count) in enumerate(zip(emitted_s, frames, strict=True)):
        due_s.append(fixed_s)
        if index >= start_buffer_chunks:
            slack_s = min(slack_s, clock_s - arrived_s)
        if arrived_s > clock_s:
            stalls += 1
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
        slack_s=slack_s if slack_s < float("inf") else 0.0,
        due_s=tuple(due_s),
    )
