"""How is a simulated run noted at little cost?"""

from dataclasses import dataclass
from operator import attrgetter

from streamtwin.core.records import Recorder, Records, RunInfo
from streamtwin.core.ring import Row

SPAN_ORDER = attrgetter("began_s", "rank", "ended_s", "kind")
"""A rank has one span of a kind at a time, so these fields order them all."""

DECISION_ORDER = attrgetter("time_s", "rank", "family", "chunk")


@dataclass(slots=True)
class RunLog(Recorder):
    """The recorder of all ranks of a run, who note everything once."""

    def emit(self, row: Row, now_s: float, frames: int) -> None:
        """Note that the chunk of *row* came out at *now_s*."""
        taken = self.chunks[row.session, row.chunk]
        taken.emitted_s, taken.frames, taken.outcome = now_s, frames, "emitted"

    def records(self, info: RunInfo) -> Records:
        """Seal what was collected, every list in order of time."""
        chunks = dict(sorted(self.chunks.items())).values()
        decisions = sorted(self.decisions, key=DECISION_ORDER)
        return Records(
            info, tuple(sorted(self.spans, key=SPAN_ORDER)), tuple(chunks), tuple(decisions)
        )
