"""How is a scenario run for real, from a video file to a video file and records?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamtwin.core.errors import RunError, UserError
from streamtwin.core.limits import HANG_TIMEOUT_S, LONG_START_S, START_S
from streamtwin.core.memory import MIB
from streamtwin.core.motion import Motion, chunk_motion
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder, Records
from streamtwin.core.run_info import partition_decision, run_info
from streamtwin.core.terms import terms_of
from streamtwin.runtime.devices import check_device, check_speed
from streamtwin.runtime.processes import run_ranks
from streamtwin.runtime.scratch import scratch_folder
from streamtwin.runtime.spool import encode_spool, spool_path
from streamtwin.runtime.video import Clip, FrameSource

if TYPE_CHECKING:
    from streamtwin.runtime.worker import Job, RankResult

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
    hang_timeout_s: float = HANG_TIMEOUT_S,
) -> RealRun:
    """Run *plan* on *clip* with one process a rank and write what it emits to *video*.

    Of several sessions, number s is written to `<video>-<s>`. *on_emitted* is called with the
    number of chunks emitted so far. What had been emitted when a run fails is written too. A rank
    may go *hang_timeout_s* without progress of its own.

    Raises:
        RunError: a rank failed, died or is stuck; names it.
        UserError: *video* cannot be written, there is no such device, or a file of the
            scenario's weights does not fit.
    """
    from streamtwin.runtime.given_files import check_files, prepare_prompts  # noqa: PLC0415
    from streamtwin.runtime.worker import Job, run_rank  # noqa: PLC0415 - loads torch

    check_device(device, plan.ranks)
    check_speed(plan.scenario.deployment, device)
    check_files(plan)
    with scratch_folder() as folder:
        source = prepare_prompts(plan, plan.scenario.prompts, folder / "prompts.safetensors")
        job = Job(plan, device, folder / "in.npy", clip.fps, folder, source)
        write_input(clip, job.frames)
        count = _Count(on_emitted)
        try:
            results = run_ranks(
                run_rank,
                plan.ranks,
                (job,),
                pin=device == "cpu",
                hang_timeout_s=hang_timeout_s,
                start_timeout_s=start_timeout_s(plan),
                on_progress=count.emitted,
            )
        except RunError as error:
            raise RunError(f"{error}{kept(job, video)}") from error
        except Exception:
            raise  # an error of ours keeps its own words
        except BaseException as error:
            # interrupted or terminated: the cause goes its way, what was made stays
            error.args = (f"stopped{kept(job, video)}",)
            raise
        frames_by_video = write_emitted(job, video)
    return RealRun(join_results(job, results, environment or {}), frames_by_video)


def start_timeout_s(plan: Plan) -> float:
    """Time that the ranks of *plan* have to become ready."""
    deployment = plan.scenario.deployment
    quick = plan.scenario.weights.dit is None and not (deployment.compile or deployment.cuda_graph)
    return START_S if quick else LONG_START_S


def write_input(clip: Clip, path: Path) -> None:
    """Leave the frames of *clip* where rank 0 finds them.

    Raises:
        UserError: there is no room for them.
    """
    try:
        np.save(path, clip.frames)
    except OSError as error:
        size = clip.frames.nbytes / MIB
        raise UserError(
            f"{path.parent}: cannot hold the {size:,.0f} MiB of input frames: "
            f"{error.strerror or error}; set TMPDIR to a folder with more room"
        ) from error


def join_results(
    job: "Job", results: "Sequence[RankResult]", environment: Mapping[str, str]
) -> Records:
    """One run's records out of what each rank saw, in rank order."""
    recorder = Recorder(decisions=[partition_decision(job.plan)])
    merged = recorder.merge([result.recorder for result in results])
    scenario = job.plan.scenario
    origins = scenario.weights.origins(scenario.seed, taehv=job.plan.vae.decoder == "taehv")
    ways = _ways(job, results)
    about = {"service_times": "measured", "device": job.device}
    provenance = {**about, **ways, **origins, **environment}
    memory = [result.memory_bytes for result in results]
    return merged.records(run_info(job.plan, "measured", provenance, memory))


def _ways(job: "Job", results: "Sequence[RankResult]") -> dict[str, str]:
    """In which ways the passes were run, where a device has several."""
    ways = {}
    if job.device != "cpu":
        ways["attention"] = next(one.attention for one in results if one.attention)
    if job.plan.scenario.deployment.cuda_graph:
        replayed, launched = (
            sum(counts) for counts in zip(*(one.passes for one in results), strict=True)
        )
        ways["passes"] = f"{replayed} replayed, {launched} launched kernel by kernel"
    return ways


class _Count:
    """Counts emitted chunks for a progress display."""

    def __init__(self, on_emitted: Progress | None) -> None:
        self.on_emitted = on_emitted
        self.chunks = 0

    def emitted(self, rank: int, chunk: int) -> None:  # noqa: ARG002 - as the launcher calls it
        self.chunks += 1
        if self.on_emitted is not None:
            self.on_emitted(self.chunks)


def kept(job: "Job", video: Path) -> str:
    """Write what had been emitted when a run stopped early; words for it."""
    try:
        written = write_emitted(job, video)
    except UserError as error:  # the cause of the stop must be told all the same
        return f"\nwhat was emitted before is lost: {error}"
    return "".join(
        f"\n{frames} frames emitted before are in {path}" for path, frames in written.items()
    )


def write_emitted(job: "Job", video: Path) -> dict[Path, int]:
    """Encode what was emitted, at the pace of the input; frames of each video, one a session.

    Raises:
        UserError: *video* cannot be written.
    """
    scenario = job.plan.scenario
    sessions, (height, width) = scenario.workload.sessions, scenario.resolution
    video.parent.mkdir(parents=True, exist_ok=True)
    written = {}
    for session in range(sessions):
        spool = spool_path(job.spools, session)
        fps = terms_of(scenario, session).source_fps or job.input_fps
        path = video if sessions == 1 else video.with_stem(f"{video.stem}-{session}")
        frames = encode_spool(spool, height, width, fps, path) if spool.exists() else 0
        if frames:
            written[path] = frames
    return written
