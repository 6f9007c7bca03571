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
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from streamtwin.core.errors import StreamtwinError
from streamtwin.runtime.memory_error import is_out_of_memory, out_of_memory_words
from streamtwin.runtime.notes import Kind, Note, failure_kind
from streamtwin.runtime.pulse import Pulse, open_pulse
from streamtwin.runtime.stacks import offer_stack

PR_SET_PDEATHSIG = 1
"""prctl(2): which signal this process gets when its parent dies."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""mallopt(3): from which size on freed memory goes back to the kernel, and allocations to mmap."""

Target = Callable[..., Any]


class Line(Protocol):
    """A rank's way to whoever started it."""

    def send(self, obj: Any, /) -> None:  # noqa: ANN401 - a note
        """Pass a note on."""

    def recv(self) -> Any:  # noqa: ANN401 - what the starter says: the start instant
        """Wait for the answer."""


@dataclass(slots=True)
class RankContext:
    """A rank's side of the launch: who it is, and its line to the launcher."""

    rank: int
    ranks: int
    rendezvous: str
    line: Line
    threads: int = 1
    card: int | None = None
    """Which of its host's cards the rank has; None: that of its own number."""
    store: Any = None
    """What the ranks meet through where they share no file."""
    start_s: float = field(default=0.0, init=False)
    pulse: Pulse = field(default_factory=Pulse, init=False)
    holds: Callable[[], dict[str, int]] = field(default=dict, init=False)
    """Bytes that the rank holds by purpose, told if memory runs out."""

    def device(self, kind: str) -> str:
        """The rank's own device of a *kind*."""
        return kind if kind == "cpu" else f"{kind}:{self.rank if self.card is None else self.card}"

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
    settle(core, context.threads)
    context.pulse = open_pulse(Path(pulse_file(context.rendezvous)), context.rank)
    offer_stack(Path(stack_file(context.rendezvous, context.rank)))
    try:
        context.tell("result", target(context, *args))
        context.pulse.over()
    except BaseException as error:  # whatever it is, the launcher must know
        failed_s = time.monotonic()
        text = failure_text(context, error)
        with suppress(OSError):  # no launcher is left to tell
            context.line.send(Note(context.rank, failure_kind(error), text, failed_s))
        sys.exit(1)


def failure_text(context: RankContext, error: BaseException) -> str:
    """What a failed rank has to say of *error*; the trace only where the words do not explain it."""
    if is_out_of_memory(error):
        return out_of_memory_words(error, context.pulse.read().place, context.holds())
    if isinstance(error, StreamtwinError):
        return str(error)
    trace = "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {error}\n{trace}"


def pulse_file(rendezvous: str) -> str:
    """Where the ranks of one host write their beats."""
    return f"{rendezvous}-pulse"


def stack_file(rendezvous: str, rank: int) -> str:
    """Where *rank* writes its stack when it is asked to."""
    return f"{rendezvous}-stack-{rank}"


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


def settle(core: int | None, threads: int) -> None:
    """Give the calling thread its core and its threads, and the process memory that it keeps."""
    _keep_memory()
    if threading.current_thread() is threading.main_thread():
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
