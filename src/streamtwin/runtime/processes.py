"""How do the rank processes of one run start together, and how do they all end?

The launcher starts one process a rank, waits until every one has acknowledged, and releases
them at one instant. A rank that fails or dies ends the others; a rank whose launcher dies ends
itself, so no process is left behind.
"""

import ctypes
import multiprocessing as mp
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, NamedTuple

from streamtwin.core.errors import RunError

STOP_GRACE_S = 3.0
"""Time that a rank has to stop by itself once it is told to."""

PR_SET_PDEATHSIG = 1
"""prctl(2): which signal this process gets when its parent dies."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""mallopt(3): from which size on freed memory goes back to the kernel, and allocations to mmap."""


class Note(NamedTuple):
    """What a rank tells the launcher."""

    rank: int
    kind: Literal["ready", "progress", "result", "error"]
    value: Any


@dataclass(slots=True)
class RankContext:
    """A rank's side of the launch: who it is, and its line to the launcher."""

    rank: int
    ranks: int
    rendezvous: str
    line: Connection
    threads: int = 1
    start_s: float = field(default=0.0, init=False)

    def ready(self) -> float:
        """Tell the launcher that this rank can start; wait for the others and for the instant.

        Returns the start instant on the monotonic clock, which all ranks of a host share.
        """
        self.line.send(Note(self.rank, "ready", None))
        self.start_s = self.line.recv()
        time.sleep(max(0.0, self.start_s - time.monotonic()))
        return self.start_s

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start_s

    def progress(self, value: Any) -> None:  # noqa: ANN401 - any picklable value
        """Tell the launcher how far this rank is."""
        self.line.send(Note(self.rank, "progress", value))


Target = Callable[..., Any]


def run_ranks(
    target: Target,
    ranks: int,
    args: tuple[Any, ...] = (),
    *,
    pin: bool = True,
    start_timeout_s: float = 120.0,
    on_progress: Callable[[int, Any], None] | None = None,
) -> list[Any]:
    """Run `target(context, *args)` in *ranks* processes and return their results in rank order.

    *target* is a module-level function. Each rank has one thread and, with *pin*, a core of its
    own as far as there are cores.

    Raises:
        RunError: a rank failed or died; names it and its cause. The others are stopped first.
    """
    with tempfile.TemporaryDirectory(prefix="streamtwin-") as folder:
        launch = _Launch(ranks, on_progress)
        try:
            launch.start(target, args, str(Path(folder) / "rendezvous"), pin)
            launch.release(start_timeout_s)
            return launch.collect()
        finally:
            launch.stop()


class _Launch:
    """The launcher's side of one run."""

    def __init__(self, ranks: int, on_progress: Callable[[int, Any], None] | None) -> None:
        self.ranks = ranks
        self.on_progress = on_progress
        self.processes: list[BaseProcess] = []
        self.lines: list[Connection] = []
        self.results: dict[int, Any] = {}
        self.ready: set[int] = set()

    def start(self, target: Target, args: tuple[Any, ...], rendezvous: str, pin: bool) -> None:
        context = _context()
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        for rank in range(self.ranks):
            ours, theirs = context.Pipe()
            core = cores[rank % len(cores)] if pin and cores else None
            rank_context = RankContext(rank, self.ranks, rendezvous, theirs)
            process = context.Process(
                target=_rank_main,
                args=(target, rank_context, core, os.getpid(), args),
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
            if time.monotonic() > deadline_s:
                late = ", ".join(str(r) for r in range(self.ranks) if r not in self.ready)
                raise RunError(f"rank {late} did not become ready within {timeout_s:.0f} s")
            self._listen(1.0)
        start_s = time.monotonic() + 0.05
        for line in self.lines:
            line.send(start_s)

    def collect(self) -> list[Any]:
        """Wait for every rank's result."""
        while len(self.results) < self.ranks:
            self._listen(1.0)
        for process in self.processes:
            process.join(STOP_GRACE_S)
        return [self.results[rank] for rank in range(self.ranks)]

    def stop(self) -> None:
        """Leave no process behind, however the run ended."""
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        for process in self.processes:
            process.join(STOP_GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
        for line in self.lines:
            line.close()

    def _listen(self, timeout_s: float) -> None:
        """Take in what the ranks say; a line that closes before its result is a dead rank."""
        open_lines = [self.lines[r] for r in range(self.ranks) if r not in self.results]
        failed: list[Note] = []
        for line in wait(open_lines, timeout_s):
            assert isinstance(line, Connection)
            rank = self.lines.index(line)
            try:
                note: Note = line.recv()
            except (EOFError, OSError):
                failed.append(self._death(rank))
                continue
            if note.kind == "error":
                failed.append(note)
            self._take(note)
        if failed:
            self._raise(failed)

    def _take(self, note: Note) -> None:
        if note.kind == "ready":
            self.ready.add(note.rank)
        elif note.kind == "result":
            self.results[note.rank] = note.value
        elif note.kind == "progress" and self.on_progress is not None:
            self.on_progress(note.rank, note.value)

    def _death(self, rank: int) -> Note:
        process = self.processes[rank]
        process.join(STOP_GRACE_S)
        code = process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return Note(rank, "error", f"process died: {how}")

    def _raise(self, failed: list[Note]) -> None:
        """Name the rank that failed first: when one goes, its neighbours' connections break."""
        deaths = [note for note in failed if str(note.value).startswith("process died")]
        if not deaths:
            # a peer that only lost its connection may speak before the one that was lost
            deaths = [
                self._death(r) for r in self._dead_within(1.0) if r not in self._names(failed)
            ]
        first = (deaths or failed)[0]
        raise RunError(f"rank {first.rank} of {self.ranks} failed: {first.value}")

    def _names(self, notes: list[Note]) -> set[int]:
        return {note.rank for note in notes}

    def _dead_within(self, seconds: float) -> list[int]:
        """Ranks that end abnormally within *seconds* without having said anything."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            dead = [r for r, p in enumerate(self.processes) if p.exitcode not in (None, 0, 1)]
            if dead:
                return dead
            time.sleep(0.05)
        return []


def _context() -> ForkServerContext:
    """Start ranks from a server that has loaded the libraries once and holds no threads."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["streamtwin.runtime.worker"])
    return context


def _rank_main(
    target: Target, context: RankContext, core: int | None, launcher: int, args: tuple[Any, ...]
) -> None:
    _die_with(launcher)
    _settle(core, context.threads)
    try:
        value = target(context, *args)
    except BaseException as error:  # whatever it is, the launcher must know
        text = "".join(traceback.format_exception(error))
        context.line.send(Note(context.rank, "error", f"{type(error).__name__}: {error}\n{text}"))
        sys.exit(1)
    context.line.send(Note(context.rank, "result", value))


def _settle(core: int | None, threads: int) -> None:
    """Give this process its core, its threads, and memory that it keeps."""
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher decides what Ctrl-C ends
    if core is not None:
        os.sched_setaffinity(0, {core})
    import torch  # noqa: PLC0415 - loaded in the rank, not wherever a run is described

    torch.set_num_threads(threads)


def _keep_memory() -> None:
    """Let the allocator keep what is freed, as the allocator of a card does.

    Otherwise activations of some MB go back to the kernel after every service and are faulted in
    again page by page: a tenth of a VAE pass, and more or less of it as the heap happens to lie.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _die_with(launcher: int) -> None:
    """End this process when its parent ends, even by a signal that cannot be caught."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if not _alive(launcher):
        sys.exit(1)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
