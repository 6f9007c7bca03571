"""What does one rank compute for an item: encode, a pass of its blocks, decode?

These are the services that the runtime performs, the harness times and the simulator predicts:
one implementation, so that what is calibrated is what runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamtwin.core.motion import motion
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.rope import ROPE, PositionView
from streamtwin.core.policies.sink import SINK, SinkView
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario import STEP_TIMESTEPS
from streamtwin.core.window import Window
from streamtwin.kernels import flow_matching
from streamtwin.kernels.cache import PassRow, StageCache
from streamtwin.kernels.prompts import PromptSource, SeededPrompts
from streamtwin.kernels.vae_layers import VaeState
from streamtwin.kernels.weights import stage_decoder, stage_dit, stage_encoder

Frames = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Work:
    """The tensors of an item under way.

    `hidden` is [B, T' S, d] between stages and None before the first; `latents` [B, T', C, h, w]
    are the noisy latents of each row, after the last stage those of its next step (clean in a
    row that has finished); `timesteps` has one number a row.
    """

    latents: Tensor
    timesteps: tuple[int, ...]
    hidden: Tensor | None = None


@dataclass(slots=True)
class SessionState:
    """Everything that belongs to one session on one rank."""

    session: int
    cache: StageCache
    encoder: VaeState | None
    decoder: VaeState | None


class StageKernels:
    """The weights of one stage and what is computed with them.

    *prompts* gives the embedding of a prompt; without it embeddings are drawn from the seed.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        prompts: PromptSource | None = None,
    ) -> None:
        self.plan, self.stage = plan, stage
        self.device, self.dtype = torch.device(device), dtype
        self.prompts = prompts or SeededPrompts(plan.model, plan.scenario.seed)
        self.dit = stage_dit(plan, stage, device, dtype)
        self.encoder = stage_encoder(plan, device, dtype) if stage.first else None
        self.decoder = stage_decoder(plan, device, dtype) if stage.last else None

    @torch.inference_mode()
    def new_session(self, session: int, prompt: str | None = None) -> SessionState:
        """State of a session that has not begun, with *prompt* or the scenario's."""
        cache = self.dit.new_cache(self.plan.scenario.deployment.steps, self._window)
        state = SessionState(
            session,
            cache,
            self.encoder.new_state() if self.encoder is not None else None,
            self.decoder.new_state() if self.decoder is not None else None,
        )
        self.set_prompt(state, self.plan.scenario.conditioning.prompt if prompt is None else prompt)
        return state

    @torch.inference_mode()
    def set_prompt(self, state: SessionState, prompt: str) -> None:
        """Compute the text keys and values of *prompt* for all passes of *state* from here on.

        Raises:
            UserError: the prompt source has no embedding of it.
        """
        embedding = self.prompts(prompt)
        self.dit.set_prompt(state.cache, embedding.to(self.device, self.dtype))

    @torch.inference_mode()
    def encode(
        self, state: SessionState, row: Row, frames: Frames, rate_of: Callable[[float], float]
    ) -> Tensor:
        """Frames uint8 [T, H, W, 3] -> noisy latents [T', C, h, w].

        *rate_of* maps the chunk's motion to the rate at which noise is mixed in.
        """
        assert self.encoder is not None
        assert state.encoder is not None
        rate = rate_of(motion(frames))
        pixels = torch.from_numpy(frames).to(self.device).permute(3, 0, 1, 2).to(self.dtype)
        latents = self.encoder.encode(pixels.div_(127.5).sub_(1.0), state.encoder)
        return flow_matching.mix(latents, self._noise(row, latents.shape), rate)

    @torch.inference_mode()
    def run(self, state: SessionState, item: Item, work: Work) -> Work:
        """Pass *item* through the stage's blocks; the last stage also takes the denoising step."""
        hidden = self.dit.embed(work.latents) if self.stage.first else work.hidden
        assert hidden is not None
        frames = work.latents.shape[1]
        timesteps = torch.tensor(work.timesteps, dtype=torch.float32, device=self.device)
        timesteps = timesteps[:, None].expand(-1, frames)
        hidden = self.dit(hidden, timesteps, self._pass_rows(item), state.cache)
        if item.first and item.rows[0].step == self._steps - 1:
            state.cache.repeat_first_row()
        if not self.stage.last:
            return Work(work.latents, work.timesteps, hidden)
        velocity = self.dit.unembed(hidden, timesteps)
        return Work(self._step(item, work, velocity), work.timesteps, hidden)

    @torch.inference_mode()
    def decode(self, state: SessionState, latents: Tensor) -> Frames:
        """Clean latents [T', C, h, w] -> frames uint8 [T, H, W, 3] in host memory."""
        assert self.decoder is not None
        assert state.decoder is not None
        pixels = self.decoder.decode(latents, state.decoder)
        scaled = pixels.add_(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return scaled.permute(1, 2, 3, 0).contiguous().cpu().numpy()

    def zeros(self, *shape: int) -> Tensor:
        """An empty tensor of the stage's device and dtype."""
        return torch.zeros(shape, device=self.device, dtype=self.dtype)

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it, so that a clock can be read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def timestep(self, step: int) -> int:
        """Timestep of a row at *step* of the reference's list (the entry's may differ)."""
        return STEP_TIMESTEPS[step]

    @property
    def _steps(self) -> int:
        return self.plan.scenario.deployment.steps

    @property
    def _window(self) -> Window:
        return self.plan.scenario.attention_window

    def _pass_rows(self, item: Item) -> list[PassRow]:
        """Where each row's K and V go: a KV row a step, the first chunk's all in row 0."""
        return [self._pass_row(item, row) for row in item.rows]

    def _pass_row(self, item: Item, row: Row) -> PassRow:
        shape, window = self.plan.scenario.shape, self._window
        conditioning = self.plan.scenario.conditioning
        frame = shape.first_latent(row.ordinal)
        return PassRow(
            kv_row=0 if item.first else row.step,
            first_frame=frame,
            frames=shape.latents_of(row.ordinal),
            position=ROPE[conditioning.rope_refresh](PositionView(frame, window.frames)),
            sink=SINK[conditioning.sink_refresh](SinkView(frame, window.sink)),
        )

    def _step(self, item: Item, work: Work, velocity: Tensor) -> Tensor:
        """Latents of every row after its denoising step, re-noised unless it was the last."""
        stepped = []
        for index, row in enumerate(item.rows):
            level = flow_matching.sigma(work.timesteps[index])
            clean = flow_matching.denoise(work.latents[index], velocity[index], level)
            if row.step + 1 < self._steps:
                following = flow_matching.sigma(STEP_TIMESTEPS[row.step + 1])
                after = Row(row.session, row.chunk, row.ordinal, row.step + 1)
                clean = flow_matching.renoise(clean, self._noise(after, clean.shape), following)
            stepped.append(clean)
        return torch.stack(stepped)

    def _noise(self, row: Row, shape: Sequence[int]) -> Tensor:
        return flow_matching.noise(
            tuple(shape),
            seed=self.plan.scenario.seed,
            session=row.session,
            chunk=row.ordinal,
            step=row.step,
            device=self.device,
            dtype=self.dtype,
        )
