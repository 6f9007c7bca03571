"""What a user is told of an input that is damaged, short, empty or not a video at all."""

import json
from pathlib import Path

import pytest

from streamtwin.core.metrics import compute_metrics
from streamtwin.reports.store import read_records
from test_cli import streamtwin
from test_video import damaged, smooth_frames, write_raw

SMALL = ["--set", "resolution=[32,48]", "--set", "deployment.gpus=1"]


def run(folder: Path, video: str, chunks: int, *more: str) -> tuple[int, str, str]:
    done = streamtwin(
        folder, "run", "cpu-tiny", *SMALL, "--set", f"workload.chunks={chunks}",
        "--input", video, "--out", "out", "--json", *more,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_damage_in_the_middle_and_an_early_end_are_told_and_survived(tmp_path: Path) -> None:
    damaged(tmp_path / "png.avi", lambda index: index in (3, 6))
    status, output, errors = run(tmp_path, "png.avi", 5)
    assert status == 0, errors
    assert "png.avi: 2 corrupt packets or frames were left out" in errors
    assert "png.avi: has 8 frames, the scenario asks for 21: it is played back and forth" in errors
    assert json.loads(output)["chunks"]["emitted"] == 5
    records = read_records(tmp_path / "out" / "records.parquet")
    assert compute_metrics(records)["chunks"]["emitted"] == 5


def test_a_clip_that_is_long_enough_is_not_remarked(tmp_path: Path) -> None:
    write_raw(tmp_path / "whole.avi", smooth_frames(17, 32, 48), "png", "rgb24")
    status, _, errors = run(tmp_path, "whole.avi", 4)
    assert status == 0, errors
    assert "back and forth" not in errors
    assert "corrupt" not in errors


def test_a_prompt_that_comes_after_the_end_is_remarked(tmp_path: Path) -> None:
    write_raw(tmp_path / "whole.avi", smooth_frames(17, 32, 48), "png", "rgb24")
    visits = "workload.visits=[{prompts: {3: a, 4: b}}, {chunks: 1, prompts: {0: a}}]"
    status, _, errors = run(
        tmp_path, "whole.avi", 4, "--set", "workload.sessions=2", "--set", visits
    )
    assert status == 0, errors
    assert "visits.0.prompts: session 0 ends with chunk 3, so what is said from chunk 4" in errors
    assert "visits.1.prompts" not in errors


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable video"),
        (b"no video at all" * 100, "not a readable video"),
        (None, "no such video file"),
    ],
)
def test_what_is_no_video_ends_with_one_line(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "in.mp4").write_bytes(content)
    status, output, errors = run(tmp_path, "in.mp4", 4)
    assert (status, output) == (2, "")
    assert f"in.mp4: {words}" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_a_timeout_of_nothing_is_refused(tmp_path: Path) -> None:
    for text in ("0", "-1", "nan", "inf"):
        done = streamtwin(tmp_path, "run", "cpu-tiny", "--hang-timeout", text)
        assert done.returncode == 2
        assert f"--hang-timeout {float(text)}: give a positive number of seconds" in done.stderr
