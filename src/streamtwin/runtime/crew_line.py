"""How do ranks that no common launcher started agree on one start and one clock?

The line of such a rank: to the rank it looks like the pipe to a launcher (`rank_main.Line`).
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]

from streamtwin.core.errors import RunError
from streamtwin.core.limits import START_S
from streamtwin.runtime.clocks import LEADER, ClockMap, Exchange, Reading, boot_id, read_offset
from streamtwin.runtime.notes import Note
from streamtwin.runtime.seat import Seat

EXCHANGES = 24
"""Questions a rank asks: the shortest round trip of so many is seldom one that was held up."""

LEAD_S = 0.25
"""How far ahead the start is fixed: time for the word to reach every rank."""


class CrewLine:
    """Meets the other ranks at the store: all ready, clocks compared, one start instant."""

    def __init__(
        self, store: Store, seat: Seat, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store, self.seat, self.clock = store, seat, clock
        self.started = threading.Event()
        self.start_s = START_S
        """Time that all ranks have to become ready."""
        self._start = LEADER

    def send(self, note: Note, /) -> None:
        """Say that this rank is ready; nobody counts its progress."""
        if note.kind == "ready":
            self.store.set(f"ready/{self.seat.rank}", "")

    def recv(self) -> float:
        """Wait for all ranks and agree on the start; the instant on this rank's clock."""
        self._meet()
        self._start = self.compare("start")
        if self.seat.rank == 0:
            self.store.set("start", repr(self.clock() + LEAD_S))
        start_s = float(self.store.get("start")) - self._start.offset_s
        self.started.set()
        return start_s

    def _meet(self) -> None:
        """Wait until all ranks are ready."""
        try:
            self.store.wait(
                [f"ready/{rank}" for rank in range(self.seat.ranks)],
                timedelta(seconds=self.start_s),
            )
        except dist.DistStoreError as error:
            ranks = range(self.seat.ranks)
            late = [str(rank) for rank in ranks if not self.store.check([f"ready/{rank}"])]
            if not late:
                raise
            raise RunError(
                f"rank {', '.join(late)} did not become ready within {self.start_s:g} s"
            ) from error

    def finish(self) -> ClockMap:
        """Compare the clocks again after the run."""
        return ClockMap(self._start, self.compare("end"))

    def compare(self, phase: str) -> Reading:
        """Ask rank 0 for its time; rank 0 answers the others in turn."""
        if self.seat.rank == 0:
            self.store.set(f"clock/{phase}/host", boot_id())
            for rank in range(1, self.seat.ranks):
                for number in range(EXCHANGES):
                    self.store.get(f"clock/{phase}/{rank}/{number}")
                    self.store.set(f"clock/{phase}/{rank}/{number}/at", repr(self.clock()))
            return LEADER
        exchanges = [self._ask(f"clock/{phase}/{self.seat.rank}/{i}") for i in range(EXCHANGES)]
        same_host = bool(boot_id()) and self.store.get(f"clock/{phase}/host").decode() == boot_id()
        return read_offset(exchanges, same_host)

    def _ask(self, key: str) -> Exchange:
        asked_s = self.clock()
        self.store.set(key, "")
        answer_s = float(self.store.get(f"{key}/at"))
        heard_s = self.clock()
        for done in (key, f"{key}/at"):
            self.store.delete_key(done)
        return Exchange(asked_s, answer_s, heard_s)
