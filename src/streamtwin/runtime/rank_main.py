"""What does a rank process do around its target: settle, report, and end with its launcher?"""

import ctypes
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from streamtwin.runtime.notes import Kind, Note, failure_kind

PR_SET_PDEATHSIG = 1
"""prctl(2): which signal this process gets when its parent dies."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""mallopt(3): from which size on freed memory goes back to the kernel, and allocations to mmap."""

Target = Callable[..., Any]


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
        self.tell("ready")
        self.start_s = self.line.recv()
        time.sleep(max(0.0, self.start_s - time.monotonic()))
        return self.start_s

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start_s

    def progress(self, value: Any) -> None:  # noqa: ANN401 - any picklable value
        """Tell the launcher how far this rank is."""
        self.tell("progress", value)

    def tell(self, kind: Kind, value: Any = None) -> None:  # noqa: ANN401 - any picklable value
        """Send the launcher a note, dated now."""
        self.line.send(Note(self.rank, kind, value, time.monotonic()))


def rank_main(
    target: Target, context: RankContext, core: int | None, args: tuple[Any, ...]
) -> None:
    """Run `target(context, *args)` and report its result or its failure."""
    _end_with_launcher()
    _settle(core, context.threads)
    try:
        context.tell("result", target(context, *args))
    except BaseException as error:  # whatever it is, the launcher must know
        failed_s = time.monotonic()
        trace = "".join(traceback.format_exception(error))
        text = f"{type(error).__name__}: {error}\n{trace}"
        with suppress(OSError):  # no launcher is left to tell
            context.line.send(Note(context.rank, failure_kind(error), text, failed_s))
        sys.exit(1)


def _end_with_launcher() -> None:
    """End this process when its launcher or the fork server ends, whatever ended them.

    The sentinel is a pipe of this rank alone whose write end only the launcher holds, so the
    kernel closes it with the launcher. The parent-death signal cannot stand in for it: the
    parent is the fork server, which lives as long as any rank does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    launcher = mp.parent_process()
    assert launcher is not None, "a rank is started by multiprocessing"
    threading.Thread(target=_exit_after, args=(launcher.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # the main thread may be blocked in a receive that never returns


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
