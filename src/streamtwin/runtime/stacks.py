"""Where in its code is a rank that no longer answers?

The rank hands a file to `faulthandler`, which writes into it from a signal handler in C: that
works while the rank hangs in native code or holds the interpreter's lock. A process that the
kernel does not run writes nothing; its state says so.
"""

import faulthandler
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

STACK_SIGNAL = signal.SIGUSR1
ANSWER_S = 2.0
"""How long to wait for a stack: a handler in C runs at once if the process runs at all."""

STATES = {
    "T": "stopped by a signal",
    "t": "stopped by a debugger",
    "D": "in an endless system call",
}
"""Process states of proc(5) in which nothing of a process runs."""

OUTERMOST = "in rank_main"
"""The frame that only the thread of a rank's work has."""


def offer_stack(path: Path) -> None:
    """Let `ask_stack` get this process's Python stacks through the file *path*."""
    # the descriptor is the handler's from now on: it must stay open as long as the process lives
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    faulthandler.register(STACK_SIGNAL, handle, all_threads=True)


def ask_stack(pid: int, path: Path) -> str:
    """The Python stack of the rank in process *pid*, innermost call first; empty if none comes."""
    # without a handler the signal would end the process, and one that does not run is silent
    if not path.exists() or why_stopped(pid):
        return ""
    with suppress(OSError):
        os.kill(pid, STACK_SIGNAL)
    deadline_s = time.monotonic() + ANSWER_S
    text = ""
    while time.monotonic() < deadline_s:
        before, text = text, path.read_text("utf-8", "replace")
        if text and text == before:
            break
        time.sleep(0.02)
    return _of_work(text)


def _of_work(text: str) -> str:
    """The stack of the thread that does the rank's work, of all threads in *text*."""
    threads = [part.strip("\n") for part in text.split("\n\n")]
    mine = [part for part in threads if OUTERMOST in part]
    return "\n".join(mine or threads).strip()


def why_stopped(pid: int) -> str | None:
    """Why nothing of process *pid* runs; None if it does, or where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    state = stat.rpartition(")")[2].split()[0]
    return f"its process is {STATES[state]} (state {state})" if state in STATES else None
