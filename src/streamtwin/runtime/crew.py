"""How does a process that torchrun started work as one rank, and end when another one does?

Nobody launches these ranks together, so each watches over itself and all others: its main thread
publishes the beats of its work, which a second thread does, and reads everybody's from the store.
Whoever fails says so there first; all others stop within a second or two and name that rank.
"""

import os
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch.distributed as dist
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from streamtwin.core.errors import RunError, StreamtwinError, UserError
from streamtwin.runtime.crew_line import CrewLine
from streamtwin.runtime.hang import Watch
from streamtwin.runtime.notes import failure_kind
from streamtwin.runtime.pulse import Beat, unpack_beat
from streamtwin.runtime.rank_main import RankContext, Target, failure_text, settle
from streamtwin.runtime.seat import Seat

LOOK_S = 0.2
"""How often a rank looks whether another has failed."""

LAST_WORDS_S = 3.0
"""How long to listen for the cause when all that is known is that connections broke."""

TICK = struct.Struct("=q")


def join_crew(seat: Seat, hang_timeout_s: float) -> "Crew":
    """Meet the other ranks at the address in the environment.

    Raises:
        RunError: nobody answers there.
    """
    try:
        store = next(iter(rendezvous("env://", seat.rank, seat.ranks)))[0]
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RunError(f"{seat.name}: cannot meet the others at {where}: {error}") from error
    return Crew(seat, PrefixStore("streamtwin", store), hang_timeout_s)


class Crew:
    """One rank's view of all: the store that they share, and what has gone wrong."""

    def __init__(self, seat: Seat, store: Store, hang_timeout_s: float) -> None:
        self.seat, self.store = seat, store
        self.line = CrewLine(_own(store), seat)
        self.context = RankContext(
            seat.rank, seat.ranks, "", self.line, card=seat.local_rank, store=_own(store)
        )
        self._timeout_s = hang_timeout_s
        self._watch = Watch(self._beats, hang_timeout_s, time.monotonic)
        self._ticks: list[tuple[int, float]] = [(-1, 0.0)] * seat.ranks
        self._tick = 0
        self._thread: threading.Thread | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._ended = False

    def work(self, target: Target, args: tuple[Any, ...], *, pin: bool) -> Any:  # noqa: ANN401
        """Run `target(context, *args)` as this rank; its result.

        Raises:
            RunError: this rank or another failed or is stuck; names this one and the cause.
        """
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        # the ranks of a host are numbered in a row, so they get cores of their own
        core = cores[self.seat.rank % len(cores)] if pin and cores else None
        self._thread = threading.Thread(
            target=self._rank_main, args=(target, core, args), daemon=True
        )
        self._publish()
        self._thread.start()
        self.wait_until(lambda: self._thread is None or not self._thread.is_alive())
        if self._error is not None:
            self._fail(self._error)
        return self._result

    def wait_for(self, *keys: str) -> None:
        """Wait until all *keys* are in the store; raises as `work` does."""
        self.wait_until(lambda: self.store.check(list(keys)))

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Watch over all ranks until *done*."""
        while not done():
            try:
                self._look()
            except dist.DistError as error:
                raise RunError(f"{self.seat.name} lost the others: {_first_line(error)}") from error
            if self._thread is not None and self._thread.is_alive():
                self._thread.join(LOOK_S)
            else:
                time.sleep(LOOK_S / 4)

    def tell(self, error: BaseException) -> None:
        """Let all know that this rank stops for *error*, unless another has told before."""
        kind = "user" if isinstance(error, UserError) else "run"
        words = f"{kind} {self.seat.rank} {_first_line(error)}"
        with suppress(dist.DistError):  # nobody is left to tell
            self.store.compare_set("failed", "", words)

    def last_words(self, error: BaseException) -> BaseException:
        """Tell all of *error* and give what to end with, which names this rank; once a run."""
        if self._ended:
            return error
        self._ended = True
        cause = error if isinstance(error, Exception) else self._cause_of_stop(error)
        if isinstance(cause, StreamtwinError) and not str(cause).startswith(self.seat.name):
            cause = type(cause)(f"{self.seat.name}: {cause}")
        self.tell(cause)
        return cause

    def _cause_of_stop(self, error: BaseException) -> BaseException:
        """Why this process was told to stop: torchrun does so when another rank has gone."""
        deadline_s = time.monotonic() + LAST_WORDS_S
        while time.monotonic() < deadline_s:
            try:
                self._look()
            except (StreamtwinError, dist.DistError) as cause:
                return RunError(str(cause))
            if self._error is not None and failure_kind(self._error) == "lost":
                return RunError(f"lost another rank: {_first_line(self._error)}")
            time.sleep(LOOK_S / 4)
        error.args = (f"{self.seat.name} was stopped",)
        return error

    def _rank_main(self, target: Target, core: int | None, args: tuple[Any, ...]) -> None:
        settle(core, self.context.threads)
        try:
            self._result = target(self.context, *args)
        except BaseException as error:
            self._error = error
        else:
            self.context.pulse.over()

    def _look(self) -> None:
        self._publish()
        if self.store.check(["failed"]):
            self._stop(self.store.get("failed").decode())
        if self.line.started.is_set():
            stuck = self._watch.look(self._silent)
            if stuck is not None:
                mine = self.seat.rank in stuck.ranks
                stack = f"\nrank {self.seat.rank} is at:\n{self._stack()}" if mine else ""
                words = f"{stuck.words} (--hang-timeout {self._timeout_s:g}){stack}"
                raise RunError(f"{self.seat.name} stops: {words}")

    def _stop(self, told: str) -> None:
        """End because another rank has told why it ends."""
        kind, rank, words = told.split(" ", 2)
        if int(rank) == self.seat.rank:
            return
        text = f"{self.seat.name} stops because rank {rank} does: {words.splitlines()[0]}"
        raise UserError(text) if kind == "user" else RunError(text)

    def _fail(self, error: BaseException) -> None:
        """End because this rank's work failed; if it only lost a peer, the peer's words count."""
        if failure_kind(error) == "lost":
            deadline_s = time.monotonic() + LAST_WORDS_S
            while time.monotonic() < deadline_s:
                self._look()
                time.sleep(LOOK_S)
        if isinstance(error, UserError):
            raise error
        raise RunError(f"{self.seat.name} failed: {failure_text(self.context, error)}") from error

    def _publish(self) -> None:
        self._tick += 1
        value = TICK.pack(self._tick) + self.context.pulse.raw()
        self.store.set(f"beat/{self.seat.rank}", value)  # type: ignore[arg-type] # bytes are taken

    def _beats(self) -> list[Beat]:
        """Everybody's latest beat; all have published one before the start."""
        beats, now_s = [], time.monotonic()
        for rank in range(self.seat.ranks):
            raw = self.store.get(f"beat/{rank}")
            (tick,) = TICK.unpack(raw[: TICK.size])
            if tick != self._ticks[rank][0]:
                self._ticks[rank] = (tick, now_s)
            beats.append(unpack_beat(raw[TICK.size :]))
        return beats

    def _silent(self) -> dict[int, str]:
        """Ranks of which not even the watching thread answers."""
        since_s = time.monotonic() - self._timeout_s / 2
        return {
            rank: "its process does not answer"
            for rank, (_, heard_s) in enumerate(self._ticks)
            if heard_s < since_s
        }

    def _stack(self) -> str:
        """The stack of this rank's work."""
        frames = sys._current_frames()
        ident = self._thread.ident if self._thread is not None else None
        return "".join(traceback.format_stack(frames[ident])) if ident in frames else ""


def _own(store: Store) -> Store:
    """A connection for another thread: one that waits holds its connection."""
    return store.clone()  # type: ignore[attr-defined, no-any-return]


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
