"""How is a simulated run noted at little cost?

A span is a row of numbers until the run is over, with the fields first by which spans are sorted.
"""

from dataclasses import dataclass, field
from operator import attrgetter

from streamtwin.core.records import ChunkRecord, Recorder, Records, RunInfo, Span, SpanKind
from streamtwin.core.ring import Row

Noted = tuple[float, int, float, SpanKind, int, int, int, int, int, int]
"""began_s, rank, ended_s, kind, session, chunk, item, rows, size_bytes, peer: see `Span`."""


@dataclass(slots=True)
class RunLog(Recorder):
    """A recorder whose spans become objects when the run is over."""

    noted: list[Noted] = field(default_factory=list)

    def emit(self, row: Row, now_s: float, frames: int) -> None:
        """Note that the chunk of *row* came out at *now_s*."""
        key = (row.session, row.chunk)
        taken = self.chunks[key]
        self.chunks[key] = ChunkRecord(
            *key, taken.released_s, taken.taken_s, now_s, frames, "emitted"
        )

    def records(self, info: RunInfo) -> Records:
        """Seal what was collected, every list in order of time."""
        chunks = dict(sorted(self.chunks.items())).values()
        decisions = sorted(self.decisions, key=attrgetter("time_s", "rank", "family"))
        # a rank has one span of a kind at a time, so the first four fields order them all
        self.noted.sort()
        spans = tuple(
            [
                Span(rank, kind, began_s, ended_s, *about)
                for began_s, rank, ended_s, kind, *about in self.noted
            ]
        )
        return Records(info, spans, tuple(chunks), tuple(decisions))
