"""How is one service of a stage performed as in the pipeline, ready for a clock?

Inputs and state are put in place before the clock is read. Stages of any length share the weights
and the KV cache of one stage that holds the whole model, as a rank of a pipeline has one set.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from streamtwin.calibrate.accelerator import l2_bytes
from streamtwin.calibrate.beside import HOST_CLOCK
from streamtwin.calibrate.cases import Case, item_from
from streamtwin.calibrate.flush import flush_bytes
from streamtwin.calibrate.harness import Clock
from streamtwin.calibrate.timer import HostTimer, Timer
from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.core.motion import Motion
from streamtwin.core.ops import Copy, DitPass, VaeDecode, VaeEncode
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.stage import Frames, SessionState, StageKernels, Work
from streamtwin.kernels.upload import upload

INPUTS = 4
"""Different random inputs of each shape, used in turn."""


class Output(Protocol):
    """Where decoded frames go."""

    def append(self, frames: Frames) -> None:
        """Take uint8 [T, H, W, 3]."""
        ...


class KernelRunner:
    """Performs passes, encodings and decodings of one plan on one device.

    Decoded frames are handed to *spool*, as they are in the pipeline. *timer* takes the times
    instead of the clock that the harness brings, but for cases that are tagged `HOST_CLOCK`.
    """

    def __init__(
        self, plan: Plan, spool: Output, device: str = "cpu", timer: Timer | None = None
    ) -> None:
        self.spool, self.timer = spool, timer
        self.plan = plan
        self.dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self.whole = StageKernels(
            plan, Stage(0, range(plan.model.blocks), True, True, True, True), device, self.dtype
        )
        self.stages: dict[tuple[int, bool, bool], StageKernels] = {}
        self.generator = torch.Generator().manual_seed(plan.scenario.seed)
        self.inputs: dict[tuple[int, ...], list[Tensor]] = {}
        self.turns = count()
        self.scratch = torch.empty(flush_bytes(l2_bytes(device)), dtype=torch.uint8, device=device)
        self.running = self.whole.new_session(0)
        self._begin(self.running)

    def time_s(self, case: Case, clock: Clock) -> float:
        """Perform *case* once and return the seconds it took by *clock*, device included."""
        events = None if case.tag == HOST_CLOCK else self.timer
        timer = events or HostTimer(clock, self.whole.synchronize)
        match case.op:
            case DitPass():
                return self._time_pass(case.op, timer)
            case VaeEncode():
                return self._time_encode(case.op, timer)
            case VaeDecode():
                return self._time_decode(case.op, timer)
            case Copy():
                return self._time_copy(case.op, timer)
            case _:
                raise AssertionError(f"{case.op} is no service of a stage")

    def _time_pass(self, op: DitPass, timer: Timer) -> float:
        kernels = self._stage(op.blocks, op.embeds, op.unembeds)
        item = item_of(op, self.plan)
        model, size = self.plan.model, self.plan.scenario.size
        shape = (op.rows, op.chunk_latents, model.latent_channels, *size.latent)
        hidden = (
            None if op.embeds else self._random(op.rows, op.chunk_latents * op.tokens, model.dim)
        )
        work = Work(self._random(*shape), STEP_TIMESTEPS[: op.rows], hidden)
        states = {self.running.session: self.running}
        return self._lasted_s(lambda: kernels.run(states, item, work), timer)

    def _time_encode(self, op: VaeEncode, timer: Timer) -> float:
        ordinal = 0 if op.first else 1
        frames = self._frames(self.plan.scenario.shape.frames_of(ordinal))
        state = self._state(op.first)
        row = Row(0, ordinal, ordinal, 0)
        return self._lasted_s(lambda: self.whole.encode(state, row, frames, _noise_rate), timer)

    def _time_decode(self, op: VaeDecode, timer: Timer) -> float:
        channels, size = self.plan.model.latent_channels, self.plan.scenario.size
        latents = self._random(op.latents, channels, *size.latent)
        state = self._state(op.first)
        return self._lasted_s(lambda: self.spool.append(self.whole.decode(state, latents)), timer)

    def _time_copy(self, op: Copy, timer: Timer) -> float:
        """Frames go to the device and come back by the very calls that encode and decode make."""
        pages = torch.from_numpy(self._bytes(op.size_bytes))
        device = self.whole.device
        if op.direction == "to_device":
            return self._lasted_s(lambda: upload(pages, device), timer)
        there = pages.to(device)
        return self._lasted_s(there.cpu, timer)

    def _lasted_s(self, perform: Callable[[], object], timer: Timer) -> float:
        self._settle()
        timer.start()
        perform()
        return timer.stop()

    def _settle(self) -> None:
        """Leave the device idle and its caches with nothing of use, as between services."""
        self.scratch.zero_()
        self.whole.synchronize()

    def _state(self, first: bool) -> SessionState:
        """State of a stream that runs, or of one whose *first* chunk is due."""
        if not first:
            return self.running
        assert self.whole.encoder is not None
        assert self.whole.decoder is not None
        fresh = self.whole.encoder.new_state(), self.whole.decoder.new_state()
        return replace(self.running, encoder=fresh[0], decoder=fresh[1])

    def _begin(self, state: SessionState) -> None:
        """Take the first chunk through the VAE and fill the KV cache with finite numbers."""
        channels, size = self.plan.model.latent_channels, self.plan.scenario.size
        latents = self.plan.scenario.shape.latents_of(0)
        frames = self._frames(self.plan.scenario.shape.frames_of(0))
        self.whole.encode(state, Row(0, 0, 0, 0), frames, _noise_rate)
        self.whole.decode(state, self._random(latents, channels, *size.latent))
        with torch.inference_mode():
            for kept in (*state.cache.k, *state.cache.v):
                kept.normal_()

    def _stage(self, blocks: int, first: bool, last: bool) -> StageKernels:
        """Kernels of a stage of *blocks* blocks, on the weights of the whole model."""
        key = (blocks, first, last)
        if key == (self.plan.model.blocks, True, True):
            return self.whole
        if key not in self.stages:
            stage = Stage(0, range(blocks), first, last, first, last)
            # Built without blocks and then given those of the whole model.
            empty = Stage(0, range(0), first, last, encodes=False, decodes=False)
            kernels = StageKernels(self.plan, empty, str(self.whole.device), self.dtype)
            kernels.stage, kernels.encoder, kernels.decoder = stage, None, None
            shared = self.whole.dit.blocks
            kernels.dit.blocks = nn.ModuleDict({str(i): shared[str(i)] for i in range(blocks)})
            kernels.dit.interval = range(blocks)
            self.stages[key] = kernels
        return self.stages[key]

    def _random(self, *shape: int) -> Tensor:
        """The next of a few random tensors of *shape*."""
        if shape not in self.inputs:
            self.inputs[shape] = [
                torch.randn(shape, generator=self.generator).to(self.whole.device, self.dtype)
                for _ in range(INPUTS)
            ]
        return self.inputs[shape][next(self.turns) % INPUTS]

    def _frames(self, count_: int) -> Frames:
        height, width = self.plan.scenario.resolution
        return self._bytes(count_, height, width, 3)

    def _bytes(self, *shape: int) -> Frames:
        """Random bytes, others in every turn."""
        random = np.random.default_rng(next(self.turns))
        return random.integers(0, 256, shape, dtype=np.uint8)


def item_of(op: DitPass, plan: Plan) -> Item:
    """An item whose pass is *op*: chunks in a row, so early in the stream that they attend that much.

    Raises:
        AssertionError: no item of the plan is such a pass.
    """
    late = 2 * plan.scenario.attention_window.frames
    stage = Stage(0, range(op.blocks), op.embeds, op.unembeds, op.embeds, op.unembeds)
    items = (item_from(plan, op.rows, youngest) for youngest in (late, *range(late)))
    found = next((item for item in items if plan.dit_pass(stage, item) == op), None)
    assert found is not None, op
    return found


def _noise_rate(_motion: Motion) -> float:
    """How noisy encoded latents are mixed; any rate takes the same time."""
    return 0.8
