"""How is a scenario run for real, from a video file to a video file and records?"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamtwin.core.errors import RunError
from streamtwin.core.motion import motion
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder, Records
from streamtwin.core.run_info import partition_decision, run_info
from streamtwin.runtime.devices import check_device, check_speed
from streamtwin.runtime.processes import run_ranks
from streamtwin.runtime.spool import encode_spool
from streamtwin.runtime.video import Clip, FrameSource

if TYPE_CHECKING:
    from streamtwin.runtime.worker import Job

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class RealRun:
    """A finished run: its records, and the frames that it wrote to `video`."""

    records: Records
    video: Path
    frames: int


def motion_trace(clip: Clip, plan: Plan) -> list[float]:
    """How much each chunk of the stream moves; what the noise policy will see of *clip*."""
    source = FrameSource(clip, plan.scenario.shape.latents)
    known: dict[bytes, float] = {}  # a clip that is played over and over repeats its chunks
    trace = []
    for chunk in range(plan.scenario.chunks):
        key = source.indices(chunk).tobytes()
        if key not in known:
            known[key] = motion(source.frames(chunk))
        trace.append(known[key])
    return trace


def run_pipeline(
    plan: Plan,
    clip: Clip,
    video: Path,
    *,
    device: str = "cpu",
    environment: Mapping[str, str] | None = None,
    on_emitted: Progress | None = None,
) -> RealRun:
    """Run *plan* on *clip* with one process a rank and write what it emits to *video*.

    *on_emitted* is called with the number of chunks emitted so far. What had been emitted when a
    run fails is written too.

    Raises:
        RunError: a rank failed or died; names it.
        UserError: *video* cannot be written, or there is no such device.
    """
    from streamtwin.runtime.worker import Job, run_rank  # noqa: PLC0415 - loads torch

    check_device(device, plan.ranks)
    check_speed(plan.scenario.deployment, device)
    with tempfile.TemporaryDirectory(prefix="streamtwin-run-") as folder:
        job = Job(plan, device, Path(folder, "in.npy"), clip.fps, Path(folder, "out.rgb"))
        np.save(job.frames, clip.frames)
        count = _Count(on_emitted)
        try:
            results = run_ranks(
                run_rank, plan.ranks, (job,), pin=device == "cpu", on_progress=count.emitted
            )
        except RunError as error:
            raise RunError(f"{error}{_kept(plan, job, video)}") from error
        except Exception:
            raise  # an error of ours keeps its own words
        except BaseException as error:
            # interrupted or terminated: the cause goes its way, what was made stays
            error.args = (f"stopped{_kept(plan, job, video)}",)
            raise
        frames = _write_video(plan, job, video)
    recorder = Recorder(decisions=[partition_decision(plan)])
    merged = recorder.merge([result.recorder for result in results])
    provenance = {"service_times": "measured", "device": device, **(environment or {})}
    if device != "cpu":
        provenance["attention"] = results[0].attention
    info = run_info(plan, "measured", provenance, [result.memory_bytes for result in results])
    return RealRun(merged.records(info), video, frames)


class _Count:
    """Counts emitted chunks for a progress display."""

    def __init__(self, on_emitted: Progress | None) -> None:
        self.on_emitted = on_emitted
        self.chunks = 0

    def emitted(self, rank: int, chunk: int) -> None:  # noqa: ARG002 - as the launcher calls it
        self.chunks += 1
        if self.on_emitted is not None:
            self.on_emitted(self.chunks)


def _kept(plan: Plan, job: "Job", video: Path) -> str:
    """Write what had been emitted when a run stopped early; words for it."""
    frames = _write_video(plan, job, video)
    return f"\n{frames} frames emitted before are in {video}" if frames else ""


def _write_video(plan: Plan, job: "Job", video: Path) -> int:
    """Encode what was emitted, at the pace of the input."""
    if not job.spool.exists():
        return 0
    height, width = plan.scenario.resolution
    video.parent.mkdir(parents=True, exist_ok=True)
    fps = plan.scenario.workload.source_fps or job.input_fps
    return encode_spool(job.spool, height, width, fps, video)
