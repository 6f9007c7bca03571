"""A result folder belongs to one command at a time, and what cannot be written is said at once."""

import multiprocessing as mp
import os
import signal
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from streamtwin.cli.output import WRITTEN, result_folder
from streamtwin.core.errors import UserError
from test_cli import streamtwin


def hold(folder: Path, taken: Event) -> None:
    result_folder(folder, "x", "run")
    taken.set()
    signal.pause()


def test_a_folder_in_use_is_refused_until_its_process_has_gone(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    taken = context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "out", taken), daemon=True)
    holder.start()
    try:
        assert taken.wait(60)
        with pytest.raises(UserError, match=rf"out: process {holder.pid} is writing there"):
            result_folder(tmp_path / "out", "x", "run")
    finally:
        holder.kill()
        holder.join()
    assert (tmp_path / "out" / "started").read_text() == f"{holder.pid}\n", "nobody tidied up"
    assert result_folder(tmp_path / "out", "x", "run") == tmp_path / "out"
    assert (tmp_path / "out" / "started").read_text() == f"{os.getpid()}\n"
    assert result_folder(tmp_path / "out", "x", "run") == tmp_path / "out", "it is our own"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_folder_in_the_place_of_a_file_is_told_before_anything_runs(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    if name in ("scenario.yaml", "report.html", "scoreboard.html", "timeline.json"):
        (tmp_path / "metrics.json").touch()  # an earlier result
    with pytest.raises(UserError, match=rf"{name} is a folder, and a file of that name"):
        result_folder(tmp_path, "x", "run")


def test_the_second_of_two_runs_into_one_folder_is_refused(tmp_path: Path) -> None:
    arguments = ["run", "cpu-tiny", "--set", "resolution=[32,48]", "--set", "workload.chunks=5000"]
    with subprocess.Popen(
        [sys.executable, "-m", "streamtwin.cli", *arguments, "--out", "one"],
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as first:
        while not any(f.stat().st_size for f in tmp_path.glob("streamtwin-run-*/session-0.rgb")):
            assert first.poll() is None
        try:
            second = streamtwin(tmp_path, *arguments, "--out", "one")
        finally:
            first.send_signal(signal.SIGTERM)
    assert second.returncode == 2
    assert f"--out one: process {first.pid} is writing there" in second.stderr
    assert second.stdout == ""
