"""Rank processes start together, say who failed first, and never outlive their launcher."""

import os
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.errors import RunError
from streamtwin.runtime.notes import Note, failure_kind, first_failure
from streamtwin.runtime.processes import RankContext, _Launch, run_ranks
from streamtwin.runtime.transport import connect

GLOO = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4321"
DIED, ERROR, LOST = (
    Note(0, "died", "process died: signal SIGKILL", 3.0),
    Note(1, "error", "ValueError: wrong", 2.0),
    Note(2, "lost", f"RuntimeError: {GLOO}", 1.0),
)


def silent(context: RankContext, where: str) -> None:
    """Report this process and block for ever without a word."""
    connect(context.rank, context.ranks, context.rendezvous)
    context.ready()
    context.progress(os.getpid())
    if where == "receive":
        dist.recv(torch.zeros(1), 1 - context.rank)
    threading.Event().wait()


LAUNCHER = """
import sys
from streamtwin.runtime.processes import run_ranks
from test_runtime_processes import silent
run_ranks(silent, 2, (sys.argv[1],), on_progress=lambda rank, pid: print(pid, flush=True))
"""


@pytest.mark.parametrize("where", ["event", "receive"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_launcher(end: signal.Signals, where: str, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, where],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path)},
    ) as launcher:
        assert launcher.stdout is not None
        ranks = {int(launcher.stdout.readline()) for _ in range(2)}
        family = psutil.Process(launcher.pid).children(recursive=True)
        launcher.send_signal(end)
        launcher.wait()
    assert ranks < {process.pid for process in family}
    _, left = psutil.wait_procs(family, timeout=60)  # only so that a failure ends
    # one that has ended and that nobody has collected is no process any more
    alive = [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    for process in alive:
        process.kill()
    assert not alive


def never_ready(context: RankContext) -> None:
    if context.rank == 1:
        threading.Event().wait()
    context.ready()


def test_a_folder_that_no_socket_can_be_in_is_named(tmp_path: Path) -> None:
    """A socket's path has room for about 100 characters."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    code = (
        "from streamtwin.core.errors import UserError\n"
        "from streamtwin.runtime.fork_server import fork_server\n"
        "try:\n    fork_server()\nexcept UserError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"TMPDIR: ranks meet at a socket in {folder}")


def test_a_rank_that_never_gets_ready_ends_the_run() -> None:
    # rank 0 may be late too
    with pytest.raises(RunError, match=r"rank (0, )?1 did not become ready within 0.1 s"):
        run_ranks(never_ready, 2, start_timeout_s=0.1)


def launch_of(*exit_codes: int) -> tuple[_Launch, list]:
    """A launch of ranks that are scripted by hand, and their ends of the lines."""
    launch = _Launch(len(exit_codes))
    theirs = []
    for code in exit_codes:
        ours, end = Pipe()
        launch.lines.append(ours)
        theirs.append(end)
        launch.processes.append(SimpleNamespace(exitcode=code, pid=0, join=lambda _: None))  # type: ignore[arg-type]
    return launch, theirs


def test_the_rank_that_is_not_ready_is_named() -> None:
    launch, _ = launch_of(0, 0, 0)
    launch.ready = {0, 2}
    with pytest.raises(RunError, match=r"rank 1 did not become ready within 0 s"):
        launch.release(0.0)


def test_a_rank_that_dies_after_it_was_ready_is_named() -> None:
    launch, lines = launch_of(0, -9)
    launch.ready = {0, 1}
    lines[1].close()
    with pytest.raises(RunError, match=r"rank 1 of 2 failed: process died: signal SIGKILL"):
        launch.release(1.0)


@given(st.permutations([DIED, ERROR, LOST, ERROR._replace(rank=3, at_s=2.5)]), st.integers(1, 4))
def test_the_cause_is_named_in_whatever_order_failures_are_heard(
    notes: list[Note], count: int
) -> None:
    heard = notes[:count]
    named = first_failure(heard)
    for kind in ("died", "error", "lost"):
        of_kind = [note for note in heard if note.kind == kind]
        if of_kind:
            assert named == min(of_kind, key=lambda note: note.at_s)
            break


@pytest.mark.parametrize("speaks_first", [0, 1, 2])
def test_the_earliest_error_is_named_whoever_is_heard_first(speaks_first: int) -> None:
    """Of each rank one note is heard at a time; the cause is behind a note of progress."""
    launch, lines = launch_of(1, 1, 1)
    notes = [Note(0, "error", "late", 5.0), Note(1, "error", "cause", 4.0), LOST]
    for rank, line in enumerate(lines):
        for _ in range(0 if rank == speaks_first else 2):
            line.send(Note(rank, "progress", 0, 0.0))
        line.send(notes[rank])
        line.close()
    with pytest.raises(RunError, match=r"^rank 1 of 3 failed: cause$"):
        launch.collect()


def test_a_death_is_waited_for_when_only_a_connection_broke() -> None:
    launch, lines = launch_of(-9, 1)
    lines[1].send(LOST._replace(rank=1))
    hear = launch._hear

    def dies_meanwhile(timeout_s: float | None) -> bool:
        if launch.failures and timeout_s:  # somebody waits for the cause
            lines[0].close()
        return hear(timeout_s)

    launch._hear = dies_meanwhile  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"rank 0 of 2 failed: process died: signal SIGKILL"):
        launch.collect()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError(GLOO), "lost"),
        (RuntimeError("Connection reset by peer"), "lost"),
        (dist.DistBackendError("NCCL error in: remote process exited"), "lost"),
        (ConnectionResetError(), "lost"),
        (BrokenPipeError(), "lost"),
        (RuntimeError("shapes cannot be multiplied"), "error"),
        (ValueError("Connection closed by peer"), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
def test_a_broken_connection_is_told_from_an_error(error: BaseException, kind: str) -> None:
    assert failure_kind(error) == kind


def unsendable(context: RankContext) -> object:
    context.ready()
    return lambda: None


def test_a_result_that_cannot_be_sent_is_an_error_of_its_rank() -> None:
    with pytest.raises(RunError, match=r"rank 0 of 1 failed: [^\n]*pickle"):
        run_ranks(unsendable, 1)
