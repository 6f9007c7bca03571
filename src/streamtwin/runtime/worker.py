"""What does one rank process do from its start to its end?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from streamtwin.core.controller import Controller
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.rehearsal import rehearse
from streamtwin.kernels.stage import SessionState, StageKernels, Work
from streamtwin.runtime.devices import rehearses, tune
from streamtwin.runtime.loops import follow, lead
from streamtwin.runtime.processes import RankContext
from streamtwin.runtime.spool import VideoSpool
from streamtwin.runtime.station import Station
from streamtwin.runtime.transport import Transport, connect, disconnect
from streamtwin.runtime.video import Clip, FrameSource


@dataclass(frozen=True, slots=True)
class Job:
    """What every rank of a run is told."""

    plan: Plan
    device: str
    frames: Path
    """Input frames as a NumPy file, uint8 [F, H, W, 3]; read by rank 0."""
    input_fps: float
    spool: Path
    """Where the last rank leaves the frames that it emits."""


@dataclass(frozen=True, slots=True)
class RankResult:
    """What a rank saw, and the bytes that it really held."""

    recorder: Recorder
    memory_bytes: dict[str, int]
    attention: str
    """What computed attention, in order of preference."""


def run_rank(context: RankContext, job: Job) -> RankResult:
    """Run rank `context.rank` of *job* to the end of its input."""
    stage = job.plan.stages[context.rank]
    device = job.device if job.device == "cpu" else f"{job.device}:{context.rank}"
    dtype = torch.float32 if job.device == "cpu" else torch.bfloat16
    tune(device)
    kernels = StageKernels(job.plan, stage, device, dtype)
    warm_up(kernels)
    state = kernels.new_session(0)
    if rehearses(job.plan.scenario.deployment, device):
        rehearse(kernels, state)
    connect(context.rank, context.ranks, context.rendezvous, backend_of(job.device), device)
    source = _source(job) if stage.first else None
    spool = VideoSpool(job.spool) if stage.last else None
    station = Station(
        kernels=kernels,
        state=state,
        transport=Transport(job.plan, context.rank, context.now_s, dtype, device),
        clock=context.now_s,
        source=source,
        spool=spool,
        emitted=context.progress,
    )
    recorders = [station.recorder]
    context.ready()
    if stage.first:
        controller = Controller(job.plan, Recorder())
        recorders.append(controller.recorder)
        lead(station, controller)
    else:
        follow(station)
    if spool is not None:
        spool.close()
    disconnect()
    return RankResult(
        Recorder().merge(recorders), held_bytes(kernels, state), ", ".join(kernels.dit.backends)
    )


def backend_of(device: str) -> str:
    """Transport of a device kind: NCCL between cards, Gloo between CPU processes."""
    return "nccl" if device.startswith("cuda") else "gloo"


def warm_up(kernels: StageKernels) -> None:
    """Run each service once on a session of its own, so that no first call is timed."""
    plan, stage = kernels.plan, kernels.stage
    state = kernels.new_session(-1)
    shape, size, model = plan.scenario.shape, plan.scenario.size, plan.model
    for ordinal in range(2):
        row = Row(-1, ordinal, ordinal, 0)
        if stage.first:
            frames = np.zeros((shape.frames_of(ordinal), size.height, size.width, 3), np.uint8)
            kernels.encode(state, row, frames, lambda _: 0.8)
        rows = tuple(Row(-1, ordinal, ordinal, step) for step in range(plan.max_rows))
        item = Item(ordinal, rows if ordinal else rows[:1])
        count, latents = len(item.rows), shape.latents_of(ordinal)
        work = Work(
            kernels.zeros(count, latents, model.latent_channels, *size.latent),
            tuple(kernels.timestep(row.step) for row in item.rows),
            kernels.zeros(count, latents * size.tokens, model.dim),
        )
        done = kernels.run(state, item, work)
        if stage.last:
            kernels.decode(state, done.latents[0])
    kernels.synchronize()


def held_bytes(kernels: StageKernels, state: SessionState) -> dict[str, int]:
    """Bytes of weights and of a session's state that this rank really holds."""
    modules = [m for m in (kernels.dit, kernels.encoder, kernels.decoder) if m is not None]
    states = [s for s in (state.encoder, state.decoder) if s is not None]
    return {
        "weights": sum(p.nbytes for module in modules for p in module.parameters()),
        "kv": state.cache.k.nbytes + state.cache.v.nbytes,
        "cross_kv": state.cache.cross_k.nbytes + state.cache.cross_v.nbytes,
        "vae": sum(one.size_bytes for one in states),
    }


def _source(job: Job) -> FrameSource:
    frames = np.load(job.frames)
    return FrameSource(Clip(frames, job.input_fps, job.frames), job.plan.scenario.shape.latents)
