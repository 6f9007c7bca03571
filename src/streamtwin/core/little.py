"""How many chunks are in the pipeline on average, how fast do they come, how long do they stay?

The number is counted by walking over the instants at which it changes, apart from rate and time, so
that Little's law (Little 1961: number = rate x time) says something about the records. Over a
window it holds up to what enters or leaves across its ends.
"""

from collections.abc import Iterable

from streamtwin.core.intervals import Interval
from streamtwin.core.records import ChunkRecord


def in_pipeline(chunks: Iterable[ChunkRecord], window: Interval) -> dict[str, float]:
    """Of *window*: mean number of chunks taken in and not emitted, rate of emission, mean stay."""
    seen = [one for one in chunks if one.taken_s is not None and one.outcome != "lost"]
    stays_s = [
        chunk.emitted_s - chunk.taken_s
        for chunk in seen
        if chunk.taken_s is not None
        and chunk.emitted_s is not None
        and window[0] < chunk.emitted_s <= window[1]
    ]
    length_s = window[1] - window[0]
    return {
        "mean_chunks": _area(seen, window) / length_s,
        "rate_per_s": len(stays_s) / length_s,
        "mean_s": sum(stays_s) / len(stays_s) if stays_s else 0.0,
    }


def _area(chunks: Iterable[ChunkRecord], window: Interval) -> float:
    """The number of chunks inside, summed up over *window*; chunk seconds."""
    steps: list[tuple[float, int]] = []
    for chunk in chunks:
        assert chunk.taken_s is not None
        steps.append((chunk.taken_s, 1))
        if chunk.emitted_s is not None:
            steps.append((chunk.emitted_s, -1))
    area, inside, since_s = 0.0, 0, window[0]
    for instant_s, change in sorted(steps):
        now_s = min(max(instant_s, window[0]), window[1])
        area += inside * (now_s - since_s)
        inside, since_s = inside + change, now_s
    return area + inside * (window[1] - since_s)
