"""Under torchrun a run is the one that `streamtwin run` makes, and ends as clearly when it fails."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from streamtwin.reports.store import read_records
from streamtwin.runtime.video import read_frames
from videos import assert_same_video

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
RUN = ["-m", "streamtwin.cli", "run", "cpu-tiny", "--set", "resolution=[32,48]"]


def arguments(chunks: int, gpus: int, *more: str) -> list[str]:
    sets = [f"workload.chunks={chunks}", f"deployment.gpus={gpus}", "workload.source_fps=null"]
    return [*RUN, *(word for one in sets for word in ("--set", one)), *more]


def environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {
        **kept,
        "STREAMTWIN_HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "TMPDIR": str(folder / "tmp"),
    }


@contextmanager
def started(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A launch that, whatever the test finds, leaves no process."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    )
    family: list[psutil.Process] = []
    try:
        yield process
    finally:
        if process.poll() is None:
            family = [*psutil.Process(process.pid).children(recursive=True), process]  # type: ignore[list-item]
        for one in family:
            one.kill()
        process.communicate()


def rank_processes(launcher: subprocess.Popen[str], count: int) -> dict[int, psutil.Process]:
    """The processes of the ranks, once all are there."""
    while True:
        assert launcher.poll() is None
        children = psutil.Process(launcher.pid).children(recursive=True)
        found = {int(one.environ()["RANK"]): one for one in children if "RANK" in one.environ()}
        if len(found) == count:
            return found
        time.sleep(0.1)


def wait_for_frames(folder: Path, launcher: subprocess.Popen[str]) -> None:
    while not any(f.stat().st_size for f in folder.glob("tmp/streamtwin-run-*/session-0.rgb")):
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.05)


def alone(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *more],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(folder),
    )


@pytest.mark.parametrize("parallelism", ["pipeline", "ring"])
def test_torchrun_makes_the_same_frames_and_whole_records(
    parallelism: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("run")  # short: a socket's path has room for 107 letters
    share = ("--set", f"deployment.parallelism={parallelism}")
    own = alone(tmp_path, *arguments(8, 2, *share, "--out", "own"))
    assert own.returncode == 0, own.stderr
    crew = arguments(8, 2, *share, "--out", "crew")
    with started(tmp_path, *TORCHRUN, "--standalone", "--nproc-per-node=2", *crew) as launcher:
        output, errors = launcher.communicate()
    assert launcher.returncode == 0, errors
    assert output.count("latency") == 1, "only rank 0 prints the result"
    assert_same_video(tmp_path / "crew/out.mp4", tmp_path / "own/out.mp4")
    mine, theirs = (read_records(tmp_path / name / "records.parquet") for name in ("own", "crew"))
    for rank in range(2):
        did, would = (
            [
                (s.kind, s.chunk, s.item, s.rows, s.size_bytes)
                for s in records.spans
                if s.rank == rank and s.kind in ("encode", "dit", "decode", "hop")
            ]
            for records in (mine, theirs)
        )
        assert did == would
    assert [c.outcome for c in theirs.chunks] == ["emitted"] * 8
    assert [info.memory_bytes for info in mine.info.ranks] == [
        info.memory_bytes for info in theirs.info.ranks
    ]
    assert not list((tmp_path / "tmp").glob("streamtwin-*"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_two_agents_in_two_folders_are_two_hosts(tmp_path: Path) -> None:
    """They share neither working nor temporary folder; the result is in that of rank 0."""
    hosts = [tmp_path / "host0", tmp_path / "host1"]
    place = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    port = f"--master-port={free_port()}"
    job = arguments(5, 2, "--out", "result")
    for host in hosts:
        host.mkdir()
    with (
        started(hosts[0], *TORCHRUN, *place, port, "--node-rank=0", *job) as first,
        started(hosts[1], *TORCHRUN, *place, port, "--node-rank=1", *job) as second,
    ):
        _, errors = first.communicate()
        quiet, second_errors = second.communicate()
    assert (first.returncode, second.returncode) == (0, 0), errors + second_errors
    assert quiet == ""
    assert len(read_frames(hosts[0] / "result/out.mp4", 32, 48).frames) == 21
    assert not (hosts[1] / "result").exists()


def test_a_wrong_number_of_processes_is_told_by_every_rank_that_can(tmp_path: Path) -> None:
    """torchrun ends the others once it sees that a rank has ended, maybe before they know why."""
    with started(
        tmp_path, *TORCHRUN, "--standalone", "--nproc-per-node=3", *arguments(5, 2)
    ) as launcher:
        output, errors = launcher.communicate()
    assert (launcher.returncode, output) == (1, ""), "torchrun's own status"
    lines = re.findall(r"^streamtwin: .*$", errors, re.MULTILINE)
    stopped = lines.count("streamtwin: stopped")
    told = [line for line in lines if "deployment.gpus = 2, but 3 processes were started" in line]
    assert len(told) + stopped == len(lines) <= 3
    assert told, errors
    assert len({line[:25] for line in told}) == len(told), "each rank speaks for itself"
    assert "2" in re.findall(r"exitcode *: (-?\d+)", errors)


@pytest.mark.parametrize(
    ("number", "rank", "cause"),
    [
        (signal.SIGKILL, 0, "rank 1 of 2"),
        (signal.SIGSTOP, 0, "rank 0 is stuck: its process does not answer"),
    ],
)
def test_a_rank_that_is_lost_ends_the_others_and_leaves_the_video(
    number: signal.Signals, rank: int, cause: str, tmp_path: Path
) -> None:
    job = arguments(5000, 2, "--out", "kept", "--hang-timeout", "2")
    with started(tmp_path, *TORCHRUN, "--standalone", "--nproc-per-node=2", *job) as launcher:
        ranks = rank_processes(launcher, 2)
        wait_for_frames(tmp_path, launcher)
        ranks[rank].send_signal(number)
        if number == signal.SIGSTOP:  # torchrun itself waits for a stopped process until it kills
            ranks[1 - rank].wait(30)
            ranks[rank].kill()
        output, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert output == ""
    (line,) = re.findall(r"^streamtwin: rank 1 of 2.*$", errors, re.MULTILINE)
    assert cause in line
    assert re.search(r"frames emitted before are in kept/out.mp4", errors)
    assert re.search(r"exitcode *: 3 ", errors) or number == signal.SIGKILL
    assert len(read_frames(tmp_path / "kept/out.mp4", 32, 48).frames) >= 5
    assert not psutil.pid_exists(ranks[0].pid)
    assert not psutil.pid_exists(ranks[1].pid)
