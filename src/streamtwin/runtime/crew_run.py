"""How is a scenario run by ranks that torchrun started, on one host or several?

Rank 0 reads the scenario and the video and posts the job; the last rank encodes what it emitted
and posts the file, since the hosts need share no folder.
"""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from streamtwin.core.limits import HANG_TIMEOUT_S
from streamtwin.core.memory import check_memory
from streamtwin.core.plan import Plan
from streamtwin.kernels.prompts import HandedPrompts
from streamtwin.runtime.clocks import ClockMap
from streamtwin.runtime.crew import Crew
from streamtwin.runtime.devices import check_device, free_bytes
from streamtwin.runtime.given_files import prepare_prompts
from streamtwin.runtime.mailbox import fetch, fetch_file, post, post_file
from streamtwin.runtime.rank_main import RankContext
from streamtwin.runtime.run import (
    Progress,
    RealRun,
    join_results,
    kept,
    start_timeout_s,
    write_emitted,
    write_input,
)
from streamtwin.runtime.scratch import scratch_folder
from streamtwin.runtime.video import Clip
from streamtwin.runtime.worker import Job, RankResult, run_rank


@dataclass(frozen=True, slots=True)
class Order:
    """What rank 0 tells the others: the job, and where its video goes on rank 0's host."""

    job: Job
    video: Path


def lead_crew(
    crew: Crew,
    plan: Plan,
    clip: Clip,
    video: Path,
    *,
    device: str = "cpu",
    environment: Mapping[str, str] | None = None,
    on_emitted: Progress | None = None,  # noqa: ARG001 - the last rank emits, perhaps elsewhere
    hang_timeout_s: float = HANG_TIMEOUT_S,  # noqa: ARG001 - the crew has it
) -> RealRun:
    """Run *plan* as rank 0 of *crew*; as `run_pipeline`, which starts its ranks itself.

    Raises:
        RunError: a rank failed or is stuck; names this one and the cause.
        UserError: *video* cannot be written.
    """
    assert plan.ranks == crew.seat.ranks, "the world was checked"
    job = Job(plan, device, Path("in.npy"), clip.fps, Path())
    post(crew.store, "order", Order(job, video))
    with _placed(crew, job, video) as here:
        write_input(clip, here.frames)
        _work_and_post(crew, _prompted(crew, here), video)
        keys = [f"result/{rank}" for rank in range(crew.seat.ranks)]
        crew.wait_for(*keys, "videos")
        heard = [fetch(crew.store, key) for key in keys]
        frames_by_video = fetch(crew.store, "videos")
        for path in frames_by_video:
            fetch_file(crew.store, f"video/{path.name}", path)
    error_s = max(clock.error_s for _, clock in heard)
    where = {**(environment or {}), "clock_error_s": f"{error_s:.2g}"}
    return RealRun(join_results(job, [result for result, _ in heard], where), frames_by_video)


def follow_crew(crew: Crew) -> None:
    """Work as another rank of *crew* on what rank 0 orders; raises as `lead_crew`."""
    crew.wait_for("order")
    order = fetch(crew.store, "order")
    job = order.job
    check_device(job.device, crew.seat.local_ranks)
    check_memory(job.plan, free_bytes(job.device, crew.seat.local_ranks), job.device)
    with _placed(crew, job, order.video) as here:
        _work_and_post(crew, _prompted(crew, here), order.video)


def _prompted(crew: Crew, job: Job) -> Job:
    """*job* with the prompts' embeddings in a file of this host; rank 0 makes and posts them."""
    file = job.spools / "prompts.safetensors"
    if crew.seat.rank == 0:
        prepare_prompts(job.plan, job.plan.scenario.prompts, file)
        post_file(crew.store, "prompts", file)
    else:
        crew.wait_for("prompts")
        fetch_file(crew.store, "prompts", file)
    return replace(job, prompts=HandedPrompts(file)) if file.exists() else job


def _work_and_post(crew: Crew, job: Job, video: Path) -> None:
    """Work as this rank and leave for rank 0 what came of it."""
    crew.line.start_s = start_timeout_s(job.plan)
    result = crew.work(_run_timed, (job,), pin=job.device == "cpu")
    if job.plan.stage_of(crew.seat.rank).decodes:
        made = write_emitted(job, job.spools / video.name)
        for path in made:
            post_file(crew.store, f"video/{path.name}", path)
        post(crew.store, "videos", {video.with_name(p.name): count for p, count in made.items()})
    post(crew.store, f"result/{crew.seat.rank}", result)


def _run_timed(context: RankContext, job: Job) -> tuple[RankResult, ClockMap]:
    """Run a rank; its result on rank 0's clock."""
    result = run_rank(context, job)
    context.pulse.waits_for(0, "receive")
    clock = context.line.finish()  # type: ignore[attr-defined]
    recorder = clock.retimed(result.recorder, context.start_s)
    return replace(result, recorder=recorder), clock


@contextmanager
def _placed(crew: Crew, job: Job, video: Path) -> Iterator[Job]:
    """*job* in a temporary folder of this host; what was emitted is kept if the run stops early."""
    with scratch_folder() as folder:
        here = replace(job, frames=folder / job.frames, spools=folder)
        try:
            yield here
        except BaseException as error:
            for number in (signal.SIGTERM, signal.SIGINT):  # it ends already: nothing to hurry
                signal.signal(number, signal.SIG_IGN)
            cause = crew.last_words(error)
            emits = job.plan.stage_of(crew.seat.rank).decodes
            words = kept(here, video) if emits else ""
            cause.args = (f"{cause}{words}",)
            if cause is error:
                raise
            raise cause from error
