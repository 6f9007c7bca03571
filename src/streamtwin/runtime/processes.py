"""How do the rank processes of one run start together, and how do they all end?

The launcher starts one process a rank, waits until every one has acknowledged, and releases
them at one instant. A rank that fails or dies ends the others; a rank whose launcher dies ends
itself, so no process is left behind.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from streamtwin.core.errors import RunError
from streamtwin.runtime.fork_server import fork_server
from streamtwin.runtime.hang import Stuck, Watch
from streamtwin.runtime.notes import FAILURES, Note, first_failure
from streamtwin.runtime.pulse import Pulse, make_pulses
from streamtwin.runtime.rank_main import RankContext, Target, pulse_file, rank_main, stack_file
from streamtwin.runtime.scratch import scratch_folder
from streamtwin.runtime.stacks import ask_stack, why_stopped

__all__ = ["RankContext", "Target", "run_ranks"]

STOP_GRACE_S = 3.0
"""Time that a rank has to stop by itself once it is told to."""

LAST_WORDS_S = 3.0
"""How long to listen for the cause when all that was heard is that connections broke."""


def run_ranks(
    target: Target,
    ranks: int,
    args: tuple[Any, ...] = (),
    *,
    pin: bool = True,
    start_timeout_s: float = 120.0,
    hang_timeout_s: float | None = None,
    on_progress: Callable[[int, Any], None] | None = None,
) -> list[Any]:
    """Run `target(context, *args)` in *ranks* processes and return their results in rank order.

    *target* is a module-level function. Each rank has one thread and, with *pin*, a core of its
    own as far as there are cores. With *hang_timeout_s* a target that beats (`RankContext.pulse`)
    may go that long without a beat.

    Raises:
        RunError: a rank failed, died or is stuck; names it and its cause. The others are stopped
            first.
    """
    with scratch_folder("ranks") as folder:
        launch = _Launch(ranks, on_progress, str(folder / "rendezvous"))
        try:
            launch.start(target, args, pin)
            launch.release(start_timeout_s)
            return launch.collect(hang_timeout_s)
        finally:
            launch.stop()


class _Launch:
    """The launcher's side of one run."""

    def __init__(
        self,
        ranks: int,
        on_progress: Callable[[int, Any], None] | None = None,
        rendezvous: str = "",
    ) -> None:
        self.ranks, self.rendezvous = ranks, rendezvous
        self.on_progress = on_progress
        self.pulses: list[Pulse] = []
        self.processes: list[BaseProcess] = []
        self.lines: list[Connection] = []
        self.results: dict[int, Any] = {}
        self.failures: dict[int, Note] = {}
        self.ready: set[int] = set()

    def start(self, target: Target, args: tuple[Any, ...], pin: bool) -> None:
        context = fork_server()
        self.pulses = make_pulses(Path(pulse_file(self.rendezvous)), self.ranks)
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        for rank in range(self.ranks):
            ours, theirs = context.Pipe()
            core = cores[rank % len(cores)] if pin and cores else None
            rank_context = RankContext(rank, self.ranks, self.rendezvous, theirs)
            process = context.Process(
                target=rank_main,
                args=(target, rank_context, core, args),
                name=f"streamtwin rank {rank}",
                daemon=True,
            )
            process.start()
            theirs.close()
            self.processes.append(process)
            self.lines.append(ours)

    def release(self, timeout_s: float) -> None:
        """Wait until all ranks are ready, then give them one start instant."""
        deadline_s = time.monotonic() + timeout_s
        while len(self.ready) < self.ranks:
            left_s = deadline_s - time.monotonic()
            if left_s < 0:
                late = [rank for rank in range(self.ranks) if rank not in self.ready]
                names = ", ".join(map(str, late))
                raise RunError(
                    f"rank {names} did not become ready within {timeout_s:g} s{self._stacks(late)}"
                )
            self._listen(left_s)
        start_s = time.monotonic() + 0.05
        for rank, line in enumerate(self.lines):
            try:
                line.send(start_s)
            except OSError:  # it was ready and has ended since
                self._note_end(rank)
                self._raise()

    def collect(self, hang_timeout_s: float | None = None) -> list[Any]:
        """Wait for every rank's result, and see to it that they come nearer."""
        watch = None
        if hang_timeout_s is not None:
            watch = Watch(
                lambda: [pulse.read() for pulse in self.pulses], hang_timeout_s, time.monotonic
            )
        while len(self.results) < self.ranks:
            self._listen(watch.every_s if watch else None)
            stuck = watch.look(self._stopped) if watch else None
            if stuck is not None:
                self._blame(stuck, hang_timeout_s)
        for process in self.processes:
            process.join(STOP_GRACE_S)
        return [self.results[rank] for rank in range(self.ranks)]

    def stop(self) -> None:
        """Leave no process behind, however the run ended."""
        for process in self.processes:
            if process.is_alive():
                process.terminate()
                _wake(process)
        deadline_s = time.monotonic() + STOP_GRACE_S
        for process in self.processes:
            process.join(max(0.0, deadline_s - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join(STOP_GRACE_S)  # one that hangs in the kernel ends when it lets go
        for line in self.lines:
            line.close()

    def _listen(self, timeout_s: float | None) -> None:
        """Take in what the ranks say within *timeout_s*; raise if one has failed."""
        self._hear(timeout_s)
        if self.failures:
            self._raise()

    def _hear(self, timeout_s: float | None) -> bool:
        """Take one note from each rank that has one; whether there was any."""
        silent = {*self.results, *self.failures}
        lines = {self.lines[r]: r for r in range(self.ranks) if r not in silent}
        heard = wait(list(lines), timeout_s) if lines else []
        for line in heard:
            assert isinstance(line, Connection)
            try:
                self._take(line.recv())
            except (EOFError, OSError):  # a line that closes before its result
                self._note_end(lines[line])
        return bool(heard)

    def _take(self, note: Note) -> None:
        if note.kind in FAILURES:
            self.failures[note.rank] = note
        elif note.kind == "ready":
            self.ready.add(note.rank)
        elif note.kind == "result":
            self.results[note.rank] = note.value
        elif self.on_progress is not None:
            self.on_progress(note.rank, note.value)

    def _note_end(self, rank: int) -> None:
        """Note that *rank* is gone, and how."""
        process = self.processes[rank]
        process.join(STOP_GRACE_S)
        code = process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL:
            how += " (not ours: the kernel ends a process so when the host's memory runs out)"
        self.failures[rank] = Note(rank, "died", f"process died: {how}", time.monotonic())

    def _raise(self) -> None:
        """Name the rank that failed first: when one goes, its neighbours' connections break.

        Notes on their way are heard before, since a neighbour may speak before the cause does.
        """
        deadline_s = time.monotonic() + LAST_WORDS_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            known = any(note.kind != "lost" for note in self.failures.values())
            if not self._hear(0.0 if known else left_s):
                break
        first = first_failure(self.failures.values())
        raise RunError(f"rank {first.rank} of {self.ranks} failed: {first.value}")

    def _stopped(self) -> dict[int, str]:
        """The ranks whose processes the kernel does not run, and why."""
        why = {rank: why_stopped(self._pid(rank)) for rank in range(self.ranks)}
        return {rank: reason for rank, reason in why.items() if reason is not None}

    def _blame(self, stuck: Stuck, timeout_s: float | None) -> None:
        words = f"{stuck.words} (--hang-timeout {timeout_s:g})"
        raise RunError(f"{words}{self._stacks(stuck.ranks)}")

    def _stacks(self, ranks: Sequence[int]) -> str:
        """Where the code of *ranks* stands, in words of several lines."""
        said = {
            rank: ask_stack(self._pid(rank), Path(stack_file(self.rendezvous, rank)))
            for rank in ranks
        }
        return "".join(f"\nrank {rank} is at:\n{text}" for rank, text in said.items() if text)

    def _pid(self, rank: int) -> int:
        pid = self.processes[rank].pid
        assert pid is not None, "a rank that runs has been started"
        return pid


def _wake(process: BaseProcess) -> None:
    """Let a stopped process see the signal that ends it."""
    if process.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
