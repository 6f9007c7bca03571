"""How is a scenario run for real, from a video file to a video file and records?"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamtwin.core.errors import RunError
from streamtwin.core.motion import Motion, chunk_motion
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder, Records
from streamtwin.core.run_info import partition_decision, run_info
from streamtwin.runtime.devices import check_device
from streamtwin.runtime.processes import run_ranks
from streamtwin.runtime.spool import encode_spool, spool_path
from streamtwin.runtime.video import Clip, FrameSource

if TYPE_CHECKING:
    from streamtwin.runtime.worker import Job

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class RealRun:
    """A finished run: its records, and how many frames it wrote to each session's video."""

    records: Records
    frames_by_video: Mapping[Path, int]

    @property
    def video(self) -> Path:
        """The video of the first session."""
        return next(iter(self.frames_by_video))

    @property
    def frames(self) -> int:
        """Frames of all sessions."""
        return sum(self.frames_by_video.values())


def motion_trace(clip: Clip, plan: Plan) -> list[Motion]:
    """How much the frames of each chunk of the stream move; what the noise policy will see of *clip*."""
    source = FrameSource(clip, plan.scenario.shape.latents)
    known: dict[bytes, Motion] = {}  # a clip that is played over and over repeats its chunks
    trace = []
    scenario = plan.scenario
    longest = max(scenario.chunks_of(session) for session in range(scenario.workload.sessions))
    for chunk in range(longest):
        key = source.indices(chunk).tobytes()
        if key not in known:
            known[key] = chunk_motion(source.frames(chunk))
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

    Of several sessions, number s is written to `<video>-<s>`. *on_emitted* is called with the number of chunks emitted so far. What had been emitted when a
    run fails is written too.

    Raises:
        RunError: a rank failed or died; names it.
        UserError: *video* cannot be written, there is no such device, or a file of the
            scenario's weights does not fit.
    """
    from streamtwin.runtime.given_files import check_files, prepare_prompts  # noqa: PLC0415
    from streamtwin.runtime.worker import Job, run_rank  # noqa: PLC0415 - loads torch

    check_device(device, plan.ranks)
    check_files(plan)
    with tempfile.TemporaryDirectory(prefix="streamtwin-run-") as folder:
        source = prepare_prompts(plan, plan.scenario.prompts, Path(folder, "prompts.safetensors"))
        job = Job(plan, device, Path(folder, "in.npy"), clip.fps, Path(folder), source)
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
        frames_by_video = _write_videos(plan, job, video)
    recorder = Recorder(decisions=[partition_decision(plan)])
    merged = recorder.merge([result.recorder for result in results])
    origins = plan.scenario.weights.origins(plan.scenario.seed)
    provenance = {"service_times": "measured", "device": device, **origins, **(environment or {})}
    info = run_info(plan, "measured", provenance, [result.memory_bytes for result in results])
    return RealRun(merged.records(info), frames_by_video)


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
    written = _write_videos(plan, job, video)
    return "".join(
        f"\n{frames} frames emitted before are in {path}" for path, frames in written.items()
    )


def _write_videos(plan: Plan, job: "Job", video: Path) -> dict[Path, int]:
    """Encode what was emitted of each session, at the pace of the input."""
    sessions = plan.scenario.workload.sessions
    height, width = plan.scenario.resolution
    fps = plan.scenario.workload.source_fps or job.input_fps
    video.parent.mkdir(parents=True, exist_ok=True)
    written = {}
    for session in range(sessions):
        spool = spool_path(job.spools, session)
        path = video if sessions == 1 else video.with_stem(f"{video.stem}-{session}")
        frames = encode_spool(spool, height, width, fps, path) if spool.exists() else 0
        if frames:
            written[path] = frames
    return written
