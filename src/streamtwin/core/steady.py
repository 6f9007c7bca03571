"""Between which chunks does a pipeline run steadily, neither filling nor running empty?"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.errors import RunError
from streamtwin.core.intervals import Interval
from streamtwin.core.moved import moves_made, ranks_of_a_copy
from streamtwin.core.records import ChunkRecord, Records
from streamtwin.core.stands import stands

ENOUGH = 3
"""Chunks that a session must emit: one that starts the clock, and a period between two more."""

LONG = 4
"""Rhythms of the lanes from which on a window is long, so that cutting it to whole ones is cheap."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The steady window: the emitted chunks behind `first` up to `last`, both ends as instants.

    `reached` is False for a run too short to have one: the window is then the whole run but for
    its first chunk. It begins with an emission, or where the ring stood; `first` is then the
    emission before that, -1 if there is none. `settled_s` is the emission in any case.
    """

    first: int
    last: int
    interval: Interval
    reached: bool
    settled_s: float


def emitted_chunks(records: Records, session: int | None = None) -> list[ChunkRecord]:
    """Emitted chunks in order of emission, of one *session* or of all."""
    done = [
        chunk
        for chunk in records.chunks
        if chunk.emitted_s is not None and session in (None, chunk.session)
    ]
    return sorted(done, key=lambda chunk: (emitted_at(chunk), chunk.session, chunk.chunk))


def emitted_by_session(records: Records) -> dict[int, list[ChunkRecord]]:
    """Emitted chunks of each session in order of emission, in one pass over the records."""
    done: dict[int, list[ChunkRecord]] = {}
    for chunk in emitted_chunks(records):
        done.setdefault(chunk.session, []).append(chunk)
    return done


def emitted_at(chunk: ChunkRecord) -> float:
    """When an emitted chunk left, in seconds since the start of the run."""
    assert chunk.emitted_s is not None
    return chunk.emitted_s


def watched_sessions(records: Records) -> list[int]:
    """Sessions that emitted enough to speak of a rate: three chunks.

    Raises:
        RunError: there is none.
    """
    counts = Counter(chunk.session for chunk in records.chunks if chunk.emitted_s is not None)
    watched = sorted(session for session, count in counts.items() if count >= ENOUGH)
    if not watched:
        most = max(counts.values(), default=0)
        refused = sum(decision.chose == "refuse" for decision in records.decisions)
        why = f" ({refused} sessions were refused)" if refused else ""
        raise RunError(f"{most} chunks were emitted{why}: no steady period can be measured")
    return watched


def steady_window(records: Records) -> Steady:
    """From the first emission after warm-up to the last before the tail, of all sessions together.

    Raises:
        RunError: no session emitted three chunks.
    """
    watched = watched_sessions(records)
    done = emitted_by_session(records)
    windows = [session_window(records, done[one]) for one in watched]
    if len(windows) == 1:
        return windows[0]
    judged = [window for window in windows if window.reached] or windows
    began_s = min(window.interval[0] for window in judged)
    ended_s = max(window.interval[1] for window in judged)
    times = [emitted_at(chunk) for chunk in emitted_chunks(records)]
    first = bisect_left(times, began_s)
    first -= times[first] != began_s  # where a ring stood, nothing was emitted
    last = len(times) - 1 - times[::-1].index(ended_s)
    reached = all(window.reached for window in windows)
    settled_s = min(window.settled_s for window in judged)
    return Steady(first, last, (began_s, ended_s), reached, settled_s)


def session_window(records: Records, done: Sequence[ChunkRecord]) -> Steady:
    """The steady window of one session that emitted *done*, in whole turns of the lanes.

    Blocks that move once, before anything is steady, belong to the warm-up, as in the reference,
    which counts frames from then on. Where the ring stood before, the window begins there: what waited
    meanwhile comes faster afterwards than any input, and is paid for with that time.

    Raises:
        RunError: no time passes in it.
    """
    assert len(done) >= ENOUGH
    info = records.info
    moved_s = _moved_once_s(records, done[0].session)
    before = sum(1 for chunk in done if chunk.taken_s is None or chunk.taken_s < moved_s)
    first, last = max(info.warmup_chunks, before), len(done) - 1 - info.tail_chunks
    lanes = info.lanes or len(info.ranks)
    reached = last - first >= lanes
    if reached:
        last = whole_turns(first, last, lanes)
    else:
        first, last = 1, len(done) - 1
    settled_s, ended_s = emitted_at(done[first]), emitted_at(done[last])
    began_s = _stood_s(records, done, (settled_s, ended_s))
    while first >= 0 and emitted_at(done[first]) > began_s:
        first -= 1
    if not began_s < ended_s:
        raise RunError(
            f"all chunks of session {done[0].session} came at {ended_s:g} s: no rate can be measured"
        )
    return Steady(first, last, (began_s, ended_s), reached, settled_s)


def _stood_s(records: Records, done: Sequence[ChunkRecord], window: Interval) -> float:
    """When *window* begins if the ring stood before it, with the session that emitted *done* waiting."""
    joined_s = done[0].released_s
    stood = (
        max(began_s, joined_s)
        for began_s, ended_s in stands(records, done[0].session)
        if joined_s < ended_s < window[1]
    )
    return min((window[0], *stood))


def whole_turns(first: int, last: int, lanes: int) -> int:
    """The last chunk of a window of whole turns from *first* on, at the latest *last*.

    W - 1 items that go round together may leave in a rhythm of W - 1, which a long window has in
    whole numbers too.
    """
    rhythm = lanes * max(1, lanes - 1)
    return last - (last - first) % (rhythm if last - first >= LONG * rhythm else lanes)


def _moved_once_s(records: Records, session: int) -> float:
    """When blocks of *session*'s pipeline moved that move once in a run.

    0 where they do not, or go on moving.
    """
    partition = records.info.scenario.get("deployment", {}).get("partition", {})
    rule = "once" if partition.get("policy") == "sdv2_once" else "never"
    if (partition.get("rebalance") or rule) != "once":
        return 0.0
    routed = (d for d in records.decisions if d.family == "router" and d.session == session)
    leader = next((int(d.chose) * ranks_of_a_copy(records) for d in routed), 0)
    made = [move.time_s for move in moves_made(records.decisions) if move.rank == leader]
    return max(made, default=0.0)
