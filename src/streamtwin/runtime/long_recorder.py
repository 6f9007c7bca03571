"""How does a rank keep the record of a long stream without growing with it?

What was recorded is moved to a file from time to time and read back once the stream is over.
"""

import pickle
import tempfile
from dataclasses import dataclass, field
from typing import IO

from streamtwin.core.records import Recorder, SpanKind

MAX_SPANS = 1024
"""Spans held in memory: some hundred kilobytes, and a few milliseconds to write."""


@dataclass(slots=True)
class LongRecorder(Recorder):
    """A recorder whose lists stay short; `gathered` has everything."""

    _file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _parts: int = 0

    def span(self, rank: int, kind: SpanKind, began_s: float, ended_s: float, **about: int) -> None:
        """Note an interval of *rank*, and make room when there are many."""
        Recorder.span(self, rank, kind, began_s, ended_s, **about)
        if len(self.spans) >= MAX_SPANS:
            self._move()

    def gathered(self) -> Recorder:
        """Everything recorded; to be called once, at the end."""
        with self._file as file:
            file.seek(0)
            # this process's own file, without a name: nobody else can have written it
            parts = [Recorder(*pickle.load(file)) for _ in range(self._parts)]  # noqa: S301
        return Recorder(self.spans, self.chunks, self.decisions).merge(parts)

    def _move(self) -> None:
        pickle.dump((self.spans, self.chunks, self.decisions), self._file)
        self._parts += 1
        # emptied in place: others hold on to these lists
        self.spans.clear()
        self.chunks.clear()
        self.decisions.clear()
