"""Where memory or disk run out, the rank says so, with what it held, and the video made so far stays."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from builders import make_plan
from streamtwin.core.errors import RunError, ScenarioError, UserError
from streamtwin.core.library import clip_path
from streamtwin.core.memory import check_memory, rank_memory
from streamtwin.runtime import worker
from streamtwin.runtime.devices import free_bytes, host_free_bytes
from streamtwin.runtime.memory_error import is_out_of_memory
from streamtwin.runtime.notes import failure_kind
from streamtwin.runtime.processes import RankContext
from streamtwin.runtime.run import run_pipeline, write_input
from streamtwin.runtime.scratch import scratch_folder, sweep
from streamtwin.runtime.spool import VideoSpool
from streamtwin.runtime.video import Clip, read_frames

SMALL = {"resolution": [32, 48], "chunks": 10}
WAYS: dict[str, Callable[[], object]] = {
    "tensor": lambda: torch.empty(2**31),
    "python": lambda: bytearray(2**31),
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def starve(context: RankContext, job: worker.Job, how: str, verb: str) -> None:
    """Run rank 1, in the middle of the stream, into a limit on its address space."""
    real = getattr(worker.StageKernels, verb)
    turns = iter(range(100))

    def starving(kernels: worker.StageKernels, *given: object) -> object:
        if context.rank == 1 and next(turns) == 5:
            used = psutil.Process().memory_info().vms
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
            WAYS[how]()
        return real(kernels, *given)

    setattr(worker.StageKernels, verb, starving)
    return real_run_rank(context, job)  # type: ignore[return-value]


real_run_rank = worker.run_rank


def starve_tensor_dit(context: RankContext, job: worker.Job) -> None:
    return starve(context, job, "tensor", "run")


def starve_python_decode(context: RankContext, job: worker.Job) -> None:
    return starve(context, job, "python", "decode")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (starve_tensor_dit, r"dit of item \d: .*can't allocate memory[^\n]*"),
        (starve_python_decode, r"decode of item \d: MemoryError"),
    ],
)
def test_a_rank_without_memory_says_what_it_held(
    target: Callable[..., None],
    said: str,
    clip: Clip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "run_rank", target)
    words = rf"^rank 1 of 2 failed: ran out of memory in {said}; it held [\d.]+ MiB \(weights [1-9]"
    with pytest.raises(RunError, match=words) as caught:
        run_pipeline(make_plan(**SMALL, gpus=2), clip, tmp_path / "kept.mp4")
    assert "frames emitted before" in str(caught.value)
    assert len(read_frames(tmp_path / "kept.mp4", 32, 48).frames) >= 1


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("NCCL error: unhandled cuda error, out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_failed_allocation_is_known_and_is_the_ranks_own_error(
    error: BaseException, is_it: bool
) -> None:
    assert is_out_of_memory(error) == is_it
    assert failure_kind(error) == "error"


# --- before the start ----------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    plan = make_plan(**SMALL, gpus=2)
    needs = [sum(rank_memory(plan, stage).values()) for stage in plan.stages]
    check_memory(plan, max(needs), "cpu")
    with pytest.raises(ScenarioError, match=r"rank \d needs \d+ MiB \(weights \d+, kv \d+.*has"):
        check_memory(plan, max(needs) - 1, "cpu")


def test_a_large_model_is_refused_where_it_does_not_fit() -> None:
    plan = make_plan(model="wan2.1-14b", vae="wan2.1", resolution=[480, 832], chunks=10)
    with pytest.raises(ScenarioError, match=r"rank 0 needs [\d,]{6,} MiB .*cuda has 24,576 MiB"):
        check_memory(plan, 24 * 2**30, "cuda")


def test_the_fullest_card_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {0: 80 * 2**30, 1: 3 * 2**30, 2: 80 * 2**30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card: (free[card], 80 * 2**30))
    assert free_bytes("cuda", 1) == 80 * 2**30
    assert free_bytes("cuda", 3) == 3 * 2**30


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 5000 kB\n")
    assert host_free_bytes(meminfo, tmp_path) == 5000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert host_free_bytes(meminfo, tmp_path) == 5000 * 1024
    (tmp_path / "memory.max").write_text("4000\n")
    assert host_free_bytes(meminfo, tmp_path) == 3000


# --- disk ----------------------------------------------------------------------------------------


def fill_disk(context: RankContext, job: worker.Job) -> None:
    """Let no file of the last rank grow over 20 frames and a bit."""
    if context.rank == 1:
        size = 20 * 32 * 48 * 3 + 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return real_run_rank(context, job)  # type: ignore[return-value]


def test_a_full_disk_is_named_and_what_fitted_is_kept(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "run_rank", fill_disk)
    out = tmp_path / "kept.mp4"
    words = r"(?s)^rank 1 of 2 failed: [^\n]*cannot hold another [\d.]+ MiB of emitted frames: File too large"
    with pytest.raises(RunError, match=words) as caught:
        run_pipeline(make_plan(**SMALL, gpus=2), clip, out)
    assert "20 frames emitted before" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert len(read_frames(out, 32, 48).frames) == 20


def test_a_device_that_is_full_is_an_error_of_the_run() -> None:
    words = r"/dev/full: cannot hold another .*No space left on device"
    with VideoSpool(Path("/dev/full")) as spool, pytest.raises(RunError, match=words):
        spool.append(np.zeros((1, 32, 48, 3), np.uint8))


def test_input_that_finds_no_room_is_told(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot hold the 1 MiB of input frames.*set TMPDIR"):
        write_input(clip, tmp_path / "missing" / "in.npy")


# --- temporary folders ---------------------------------------------------------------------------

LAUNCHER = """
import signal
from streamtwin.runtime.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "out.rgb").write_bytes(b"frames")
    print(folder, flush=True)
    signal.pause()
"""


def test_what_a_killed_launcher_left_goes_with_the_next_run(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True, env=environment
    ) as launcher:
        assert launcher.stdout is not None
        left = Path(launcher.stdout.readline().strip())
        sweep(tmp_path)
        survived = (left / "out.rgb").exists()
        launcher.send_signal(signal.SIGKILL)
    assert survived, "it was in use"
    assert left.exists()
    sweep(tmp_path)
    assert not left.exists()


def test_a_folder_that_says_nothing_of_its_owner_stays(tmp_path: Path) -> None:
    (tmp_path / "streamtwin-mine").mkdir()
    sweep(tmp_path)
    assert (tmp_path / "streamtwin-mine").exists()


def test_a_scratch_folder_is_locked_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with scratch_folder() as folder:
        with (folder / "owner").open() as owner, pytest.raises(BlockingIOError):
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sweep(tmp_path)
        assert folder.exists()
    assert not folder.exists()


def test_a_rank_that_the_kernel_killed_gets_a_hint(clip: Clip) -> None:
    from test_runtime_processes import launch_of  # noqa: PLC0415

    launch, lines = launch_of(-int(signal.SIGKILL))
    lines[0].close()
    with pytest.raises(RunError, match=r"SIGKILL \(not ours: .*memory runs out"):
        launch.collect()
