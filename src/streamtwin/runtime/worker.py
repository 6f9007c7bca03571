"""What does one rank process do from its start to its end?"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from streamtwin.core.controller import Controller
from streamtwin.core.limits import MESSAGE_S
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.prompts import PromptSource
from streamtwin.kernels.rehearsal import record_ahead
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.devices import tune
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.long_recorder import LongRecorder
from streamtwin.runtime.loops import follow, lead
from streamtwin.runtime.members import Leader, Member, form_groups
from streamtwin.runtime.overlap import AheadTransport
from streamtwin.runtime.processes import RankContext
from streamtwin.runtime.spool import Spools
from streamtwin.runtime.states import States, weight_bytes
from streamtwin.runtime.station import Station
from streamtwin.runtime.transport import Groups, Transport, connect, disconnect
from streamtwin.runtime.video import Clip, FrameSource


@dataclass(frozen=True, slots=True)
class Job:
    """What every rank of a run is told."""

    plan: Plan
    device: str
    frames: Path
    """Input frames as a NumPy file, uint8 [F, H, W, 3]; read by rank 0."""
    input_fps: float
    spools: Path
    """Folder in which the last rank leaves the frames that it emits, a file for each session."""
    prompts: PromptSource | None = None
    """Where the ranks look embeddings up; None: they draw them from the seed."""


@dataclass(frozen=True, slots=True)
class RankResult:
    """What a rank saw, and the bytes that it really held."""

    recorder: Recorder
    memory_bytes: dict[str, int]
    attention: str = ""
    """What computed attention, in order of preference; nothing on a rank without blocks."""
    passes: tuple[int, int] = (0, 0)
    """How many passes were replayed from a recording, and how many ran kernel by kernel."""


def run_rank(context: RankContext, job: Job) -> RankResult:
    """Run rank `context.rank` of *job* to the end of its input."""
    stage = job.plan.stage_of(context.rank)
    device = context.device(job.device)
    dtype = torch.float32 if job.device == "cpu" else torch.bfloat16
    tune(job.device)
    # before the warm-up, which the members of a stage do together
    groups = join(context, job, device)
    sequence = form_groups(job.plan, context.rank, device, context.pulse)
    kernels = StageKernels(job.plan, stage, device, dtype, job.prompts, sequence)
    context.holds = lambda: {"weights": weight_bytes(kernels)}
    warm_up(kernels)
    states = States(kernels)
    context.holds = states.measure
    for session in first_sessions(job.plan):
        states.of(session)
    if not stage.vae_only:
        record_ahead(kernels, states.held)
    if sequence is not None and not sequence.leads:
        return follow_leader(context, states, sequence)
    source = _source(job) if stage.encodes else None
    spools = Spools(job.spools) if stage.decodes else None
    recorder = LongRecorder()
    # ahead of the first receive: its group waits for the device, on which that would be open
    exchange = BlockExchange(job.plan, kernels, states, context.pulse)
    station = Station(
        kernels=kernels,
        states=states,
        transports=open_transports(context, job, dtype, device, groups),
        exchange=exchange,
        clock=context.now_s,
        source=source,
        spools=spools,
        emitted=context.progress,
        recorder=recorder,
        pulse=context.pulse,
        members=None if sequence is None else Leader(sequence, context.now_s, device),
    )
    # what it reads and opens for each session is done before the clock runs
    controller = Controller(job.plan, recorder) if stage.encodes else None
    context.ready()
    if controller is not None:
        lead(station, controller)
    else:
        follow(station)
    if spools is not None:
        spools.close()
    disconnect()
    return result_of(recorder, states)


def join(context: RankContext, job: Job, device: str) -> Groups:
    """Join the other ranks; the groups of links that have their own."""
    return connect(
        context.rank,
        context.ranks,
        context.rendezvous,
        backend_of(job.device),
        device,
        job.plan.edges,
        apart=job.plan.scenario.deployment.overlaps and job.device != "cpu",
        store=context.store,
        timeout=timedelta(seconds=MESSAGE_S),
    )


def open_transports(
    context: RankContext, job: Job, dtype: torch.dtype, device: str, groups: Groups
) -> list[Transport]:
    """A transport for each link on which this rank sends, at least one."""
    ahead = job.plan.scenario.deployment.overlaps
    kind = AheadTransport if ahead else Transport
    edges = job.plan.outward(context.rank) or (None,)
    transports = [
        kind(job.plan, context.rank, context.now_s, dtype, device, edge, groups) for edge in edges
    ]
    transports[0].begin()
    return transports


def first_sessions(plan: Plan) -> list[int]:
    """Sessions that are there from the start, whose state is made before the clock runs."""
    every = range(plan.scenario.workload.sessions)
    return [session for session in every if plan.scenario.there_at_start(session)]


def follow_leader(context: RankContext, states: States, sequence: SequenceGroup) -> RankResult:
    """Run a rank that does not lead its stage to the end."""
    recorder = LongRecorder()
    member = Member(states, sequence, context.now_s, recorder, context.pulse)
    context.ready()
    member.follow()
    disconnect()
    return result_of(recorder, states)


def result_of(recorder: LongRecorder, states: States) -> RankResult:
    """What the rank of *states* leaves at its end."""
    memory, kernels = states.measure(), states.kernels
    if kernels.stage.vae_only:
        return RankResult(recorder.gathered(), memory)
    recorded = kernels.passes.recorded
    passes = (0, 0) if recorded is None else (recorded.replayed, recorded.launched)
    return RankResult(recorder.gathered(), memory, ", ".join(kernels.dit.backends), passes)


def backend_of(device: str) -> str:
    """Transport of a device kind: NCCL between cards, Gloo between CPU processes."""
    return "nccl" if device.startswith("cuda") else "gloo"


def warm_up(kernels: StageKernels) -> None:
    """Run each service once on sessions of its own, so that no first call is timed."""
    plan, stage = kernels.plan, kernels.stage
    batch = plan.scenario.deployment.batching.batch
    steps = plan.max_rows // batch
    states = {-1 - one: kernels.new_session(-1 - one) for one in range(batch)}
    state = states[-1]
    shape, size, model = plan.scenario.shape, plan.scenario.size, plan.model
    for ordinal in range(2):
        row = Row(-1, ordinal, ordinal, 0)
        if stage.encodes:
            frames = np.zeros((shape.frames_of(ordinal), size.height, size.width, 3), np.uint8)
            kernels.encode(state, row, frames, lambda _: 0.8)
        rows = tuple(Row(one, ordinal, ordinal, step) for one in states for step in range(steps))
        # each number of rows is compiled for itself
        least = 1 if plan.scenario.deployment.compile else len(rows)
        for count in range(least, len(rows) + 1) if ordinal else (1,):
            item, latents = Item(ordinal, rows[:count]), shape.latents_of(ordinal)
            work = Work(
                kernels.zeros(count, latents, model.latent_channels, *size.latent),
                tuple(kernels.timestep(row.step) for row in item.rows),
                kernels.zeros(count, latents * size.tokens, model.dim),
            )
            done = work if stage.vae_only else kernels.run(states, item, work)
        if stage.decodes:
            kernels.decode(state, done.latents[0])
    kernels.synchronize()


def _source(job: Job) -> FrameSource:
    frames = np.load(job.frames)
    return FrameSource(Clip(frames, job.input_fps, job.frames), job.plan.scenario.shape.latents)
