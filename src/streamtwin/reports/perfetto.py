"""How does a run look in a trace viewer? Chrome trace events, which Perfetto opens.

A process per executor; in it a track of services, one of waits and one of idle time by cause
for each rank, a track per link, and the life of every chunk. Times are microseconds since the
start of the stream, on a grid of nanoseconds so that neighbours touch and never overlap.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

from streamtwin.core.bubbles import Bubble, rank_times
from streamtwin.core.errors import RunError
from streamtwin.core.records import SERVICES, Records, Span
from streamtwin.core.steady import steady_window

Event = dict[str, Any]
_Track = tuple[str, int, int]


def timeline(runs: Mapping[str, Records]) -> dict[str, Any]:
    """Trace of the *runs*, each a process under its label."""
    events: list[Event] = []
    for pid, (label, records) in enumerate(runs.items(), start=1):
        events += _process(pid, label, records)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def bubbles_of(records: Records) -> list[Bubble]:
    """Idle pieces of all ranks; none when the run was too short for a steady window."""
    try:
        steady = steady_window(records).interval
    except RunError:
        return []
    return [bubble for time in rank_times(records, steady) for bubble in time.bubbles]


def _process(pid: int, label: str, records: Records) -> Iterator[Event]:
    bubbles = bubbles_of(records)
    tracks = sorted(
        {_track(span) for span in records.spans} | {("idle", b.rank, -1) for b in bubbles},
        key=_order,
    )
    tids = {track: tid for tid, track in enumerate(tracks, start=1)}
    yield _metadata(pid, 0, "process_name", name=label)
    yield _metadata(pid, 0, "process_sort_index", sort_index=pid)
    for track, tid in tids.items():
        yield _metadata(pid, tid, "thread_name", name=_title(track))
        yield _metadata(pid, tid, "thread_sort_index", sort_index=tid)
    for span in records.spans:
        yield _slice(pid, tids[_track(span)], _name(span), span, span.kind, _args(span))
    for bubble in bubbles:
        tid = tids["idle", bubble.rank, -1]
        yield _slice(pid, tid, bubble.cause, bubble, "idle", {"cause": bubble.cause})
    yield from _flows(pid, tids, records)
    yield from _chunks(pid, records)


_LINKS = ("hop", "transfer")
"""Kinds that have a track a link: a rank may serve while it is sent something."""


def _track(span: Span) -> _Track:
    if span.kind in _LINKS:
        return span.kind, span.peer, span.rank
    return "serve" if span.kind in SERVICES else "wait", span.rank, -1


def _order(track: _Track) -> tuple[bool, int, str, int]:
    kind, rank, other = track
    return kind in _LINKS, rank, {"serve": "0", "idle": "1", "wait": "2"}.get(kind, kind), other


def _title(track: _Track) -> str:
    kind, rank, other = track
    if kind in _LINKS:
        return f"{kind} {rank} → {other}"
    return {"serve": f"rank {rank}", "idle": f"rank {rank} idle", "wait": f"rank {rank} waits"}[
        kind
    ]


def _name(span: Span) -> str:
    return f"{span.kind} {span.chunk}" if span.kind in SERVICES else span.kind


def _args(span: Span) -> dict[str, int]:
    args = {"session": span.session, "chunk": span.chunk, "item": span.item}
    optional = {"rows": span.rows, "size_bytes": span.size_bytes}
    return args | {key: value for key, value in optional.items() if value}


def _metadata(pid: int, tid: int, kind: str, **args: str | int) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": kind, "args": args}


def _slice(
    pid: int, tid: int, name: str, piece: Span | Bubble, category: str, args: Mapping[str, Any]
) -> Event:
    began_ns, ended_ns = _ns(piece.began_s), _ns(piece.ended_s)
    return {
        "ph": "X", "pid": pid, "tid": tid, "ts": began_ns / 1e3, "dur": (ended_ns - began_ns) / 1e3,
        "name": name, "cat": category, "args": dict(args),
    }  # fmt: skip


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _flows(pid: int, tids: Mapping[_Track, int], records: Records) -> Iterator[Event]:
    """Draw an arrow for every hop: from the pass that made the item to the one that uses it."""
    passes: dict[int, list[Span]] = {}
    for span in sorted(records.spans, key=lambda s: s.began_s):
        if span.kind == "dit":
            passes.setdefault(span.rank, []).append(span)
    for number, hop in enumerate(records.transfers):
        sender = _made(passes.get(hop.peer, []), hop)
        user = _uses(passes.get(hop.rank, []), hop)
        if sender is not None and user is not None:
            flow = {"name": "item", "cat": "hop", "id": pid * 10**9 + number, "pid": pid}
            yield {**flow, "ph": "s", "tid": tids[_track(sender)], "ts": _middle_us(sender)}
            yield {**flow, "ph": "f", "bp": "e", "tid": tids[_track(user)], "ts": _middle_us(user)}


def _made(passes: list[Span], hop: Span) -> Span | None:
    before = bisect_left(passes, hop.ended_s, key=lambda s: s.began_s)
    same = (s for s in reversed(passes[:before]) if (s.session, s.item) == (hop.session, hop.item))
    return next(same, None)


def _uses(passes: list[Span], hop: Span) -> Span | None:
    after = bisect_left(passes, hop.ended_s, key=lambda s: s.began_s)
    return passes[after] if after < len(passes) else None


def _middle_us(span: Span) -> float:
    return (_ns(span.began_s) + _ns(span.ended_s)) // 2 / 1e3


def _chunks(pid: int, records: Records) -> Iterator[Event]:
    """Show each emitted chunk's life, from release to emission, on a track of its own."""
    for number, chunk in enumerate(records.chunks):
        if chunk.emitted_s is None:
            continue
        life = {
            "pid": pid, "tid": 0, "cat": "chunk", "id2": {"local": hex(number)},
            "name": f"chunk {chunk.chunk}",
        }  # fmt: skip
        args = {"session": chunk.session, "frames": chunk.frames}
        yield {**life, "ph": "b", "ts": _ns(chunk.released_s) / 1e3, "args": args}
        yield {**life, "ph": "e", "ts": _ns(chunk.emitted_s) / 1e3}
