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
from streamtwin.kernels.dit import build_dit
from streamtwin.kernels.seeding import stable_seed
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.vae import build_decoder, build_encoder
from streamtwin.kernels.vae_layers import VaeState

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

    With a *sequence*, its members share the passes; what happens at the ends of the model is the
    leader's.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        sequence: SequenceGroup | None = None,
    ) -> None:
        self.plan, self.stage, self.sequence = plan, stage, sequence
        leads = sequence is None or sequence.leads
        first, self._unembeds = stage.first and leads, stage.last and leads
        self.device, self.dtype = torch.device(device), dtype
        seed = plan.scenario.seed
        self.dit = build_dit(
            plan.model,
            plan.scenario.size,
            stage.blocks,
            embeds=stage.first,
            heads_out=self._unembeds,
            seed=seed,
            device=device,
            dtype=dtype,
            sequence=sequence,
        )
        ends = {"seed": seed, "device": device, "dtype": dtype}
        self.encoder = build_encoder(plan.vae, **ends) if first else None  # type: ignore[arg-type]
        self.decoder = build_decoder(plan.vae, **ends) if self._unembeds else None  # type: ignore[arg-type]

    @torch.inference_mode()
    def new_session(self, session: int) -> SessionState:
        """State of a session that has not begun, prompted with an embedding fixed by the seed."""
        cache = self.dit.new_cache(self.plan.scenario.deployment.steps, self._window)
        self.dit.set_prompt(cache, self._prompt().to(self.device, self.dtype))
        return SessionState(
            session,
            cache,
            self.encoder.new_state() if self.encoder is not None else None,
            self.decoder.new_state() if self.decoder is not None else None,
        )

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
        hidden = self._enter(work)
        frames = work.latents.shape[1]
        timesteps = torch.tensor(work.timesteps, dtype=torch.float32, device=self.device)
        timesteps = timesteps[:, None].expand(-1, frames)
        hidden = self.dit(hidden, timesteps, self._pass_rows(item), state.cache)
        if item.first and item.rows[0].step == self._steps - 1:
            state.cache.repeat_first_row()
        if self.sequence is not None:
            hidden = self.sequence.gather(hidden)
        if not self._unembeds:
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

    def _enter(self, work: Work) -> Tensor:
        """Tokens that the blocks start from; with a sequence, this member's.

        A first stage sends its members latents, not tokens: a token's latents are 64 numbers, its
        hidden state thousands, and each member embeds them by itself at no cost that shows.
        """
        latents, hidden = work.latents, work.hidden
        if self.stage.first:
            if self.sequence is not None:
                latents = self.sequence.broadcast(latents)
            hidden = self.dit.embed(latents)
            return hidden if self.sequence is None else self.sequence.own(hidden, 1)
        if self.sequence is not None:
            rows, frames = latents.shape[:2]
            own = latents.new_empty(rows, frames * self.sequence.tokens, self.plan.model.dim)
            return self.sequence.scatter(hidden if self.sequence.leads else None, own)
        assert hidden is not None
        return hidden

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

    def _prompt(self) -> Tensor:
        """A text embedding [text_len, text_dim] that stands in for an encoded prompt."""
        key = stable_seed("prompt", self.plan.scenario.seed)
        shape = (self.plan.model.text_len, self.plan.model.text_dim)
        return torch.randn(shape, generator=torch.Generator().manual_seed(key))
