"""How is a simulated run noted at little cost?"""

from dataclasses import dataclass
from operator import attrgetter

from streamtwin.core.records import Recorder, Records, RunInfo, Span
from streamtwin.core.ring import Row

DECISION_ORDER = attrgetter("time_s", "rank", "family")
"""Decisions of one family at one instant stay in the order in which they were made."""


@dataclass(slots=True)
class RunLog(Recorder):
    """The recorder of all ranks of a run, who note everything once.

    `overlaps` says whether ranks do other things while they are sent something.
    """

    overlaps: bool = False

    def emit(self, row: Row, now_s: float, frames: int) -> None:
        """Note that the chunk of *row* came out at *now_s*."""
        taken = self.chunks[row.session, row.chunk]
        taken.emitted_s, taken.frames, taken.outcome = now_s, frames, "emitted"

    def records(self, info: RunInfo) -> Records:
        """Seal what was collected, every list in order of time."""
        chunks = dict(sorted(self.chunks.items())).values()
        decisions = sorted(self.decisions, key=DECISION_ORDER)
        return Records(info, tuple(self._in_order()), tuple(chunks), tuple(decisions))

    def _in_order(self) -> list[Span]:
        """All spans by when they begin, then by rank, by when they end and by kind.

        The last first, as sorting leaves what is equal in order: single keys take half the time of
        all at once. A rank does one thing after the other, so that two of its spans begin together
        only where transfers go on meanwhile.
        """
        spans = self.spans
        if self.overlaps:
            spans = sorted(spans, key=attrgetter("ended_s", "kind"))
        return sorted(sorted(spans, key=attrgetter("rank")), key=attrgetter("began_s"))
