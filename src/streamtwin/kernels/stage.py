"""What does one rank compute for an item: encode, a pass of its blocks, decode?

These are the services that the runtime performs, the harness times and the simulator predicts:
one implementation, so that what is calibrated is what runs.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.core.motion import Motion, chunk_motion
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.rope import ROPE
from streamtwin.core.ring import Item, Row
from streamtwin.core.window import Window
from streamtwin.kernels import flow_matching
from streamtwin.kernels.cache import StageCache, TextCache
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.passes import Passes, passes_of
from streamtwin.kernels.prompts import PromptSource, SeededPrompts
from streamtwin.kernels.refresh import SinkRefresh
from streamtwin.kernels.rows import PassRow
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.shared_pass import brought
from streamtwin.kernels.upload import upload
from streamtwin.kernels.weights import stage_decoder, stage_dit, stage_encoder
from streamtwin.kernels.work import SessionState, Work

__all__ = ["Frames", "SessionState", "StageKernels", "Work"]

Frames = npt.NDArray[np.uint8]


class StageKernels:
    """The weights of one stage and what is computed with them.

    *prompts* gives the embedding of a prompt; without it embeddings are drawn from the seed.
    With a *sequence*, its members share the passes.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        prompts: PromptSource | None = None,
        sequence: SequenceGroup | None = None,
    ) -> None:
        self.plan, self.stage, self.sequence = plan, stage, sequence
        self.device, self.dtype = torch.device(device), dtype
        self.prompts = prompts or SeededPrompts(plan.model, plan.scenario.seed)
        # a rank of the VAE's own needs none of what blocks share
        self._dit = None if stage.vae_only else stage_dit(plan, stage, device, dtype, sequence)
        self._passes = None
        if self._dit is not None:
            self._passes = passes_of(self._dit, plan.scenario.deployment, self.device)
        self.encoder = stage_encoder(plan, device, dtype) if stage.encodes else None
        self.decoder = stage_decoder(plan, device, dtype) if stage.decodes else None

    @property
    def dit(self) -> DiTStage:
        """The stage's blocks and what they need besides; a rank of the VAE's own has none."""
        assert self._dit is not None, f"rank {self.stage.rank} has no blocks"
        return self._dit

    @property
    def passes(self) -> Passes:
        """How the blocks' part of an item is run."""
        assert self._passes is not None, f"rank {self.stage.rank} has no blocks"
        return self._passes

    @property
    def modules(self) -> list[nn.Module]:
        """Everything that holds weights."""
        return [part for part in (self._dit, self.encoder, self.decoder) if part is not None]

    @torch.inference_mode()
    def new_session(self, session: int) -> SessionState:
        """State of a session that has not begun, under its first prompt."""
        first = self.plan.scenario.prompt_of(session, 0)
        conditioning = self.plan.scenario.conditioning
        return SessionState(
            session,
            self._new_cache(),
            self.encoder.new_state() if self.encoder is not None else None,
            self.decoder.new_state() if self.decoder is not None else None,
            SinkRefresh(conditioning.sink_refresh, conditioning.sink_threshold),
            {} if self.stage.vae_only else {first: self._read(first)},
        )

    @torch.inference_mode()
    def encode(
        self, state: SessionState, row: Row, frames: Frames, rate_of: Callable[[Motion], float]
    ) -> Tensor:
        """Frames uint8 [T, H, W, 3] -> noisy latents [T', C, h, w].

        *rate_of* maps the motion of the chunk's frames to the rate at which noise is mixed in.
        """
        assert self.encoder is not None
        assert state.encoder is not None
        rate = rate_of(chunk_motion(frames))
        pixels = upload(torch.from_numpy(frames), self.device).permute(3, 0, 1, 2).to(self.dtype)
        latents = self.encoder.encode(pixels.div_(127.5).sub_(1.0), state.encoder)
        return flow_matching.mix(latents, self._noise(row, latents.shape), rate)

    @torch.inference_mode()
    def run(self, states: Mapping[int, SessionState], item: Item, work: Work) -> Work:
        """Pass *item* through the stage's blocks; the last stage also takes the denoising step.

        *states* has the state of every session that has a row in the item.
        """
        taken = brought(self.dit, work.latents, work.hidden)
        own = [states[row.session] for row in item.rows]
        caches = [state.cache for state in own]
        texts = [self._text(state, row) for state, row in zip(own, item.rows, strict=True)]
        rows = [self._pass_row(state, item, row) for state, row in zip(own, item.rows, strict=True)]
        hidden, *velocity = self.passes.run(taken, work.timesteps, rows, caches, texts)
        for state, row in zip(own, rows, strict=True):
            state.sinks.observe(state.cache, [row])
        if item.first and item.rows[0].step == self._steps - 1:
            caches[0].repeat_first_row()
        if not self.stage.last:
            return Work(work.latents, work.timesteps, hidden)
        return Work(self._step(item, work, velocity[0]), work.timesteps, hidden)

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
        """Wait until the device has done what was asked of it, so that a clock can be read.

        Only this stream of work: a receive that is posted ahead may be open for long.
        """
        if self.device.type == "cuda":
            with nullcontext() if self.sequence is None else self.sequence.waiting():
                torch.cuda.current_stream(self.device).synchronize()

    def timestep(self, step: int) -> int:
        """Timestep of a row at *step* of the reference's list (the entry's may differ)."""
        return STEP_TIMESTEPS[step]

    def _new_cache(self) -> StageCache:
        if self._dit is not None:
            return self._dit.new_cache(self._steps, self._window)
        model, size = self.plan.model, self.plan.scenario.size
        return StageCache(
            0,
            self._steps,
            self._window,
            tokens=size.tokens,
            heads=model.heads,
            head_dim=model.head_dim,
            device=self.device,
            dtype=self.dtype,
        )

    @property
    def _steps(self) -> int:
        return self.plan.scenario.deployment.steps

    @property
    def _window(self) -> Window:
        return self.plan.scenario.attention_window

    def _pass_row(self, state: SessionState, item: Item, row: Row) -> PassRow:
        """Where *row*'s K and V go: a KV row a step, the first chunk's all in row 0."""
        scenario = self.plan.scenario
        prompt = scenario.prompt_number(row.session, row.chunk)
        frame = scenario.shape.first_latent(row.ordinal)
        return PassRow(
            kv_row=0 if item.first else row.step,
            first_frame=frame,
            frames=scenario.shape.latents_of(row.ordinal),
            position=ROPE[scenario.conditioning.rope_refresh](scenario.position_view(frame)),
            sinks=() if item.first else state.sinks.choose(state.cache, row, frame, prompt),
            prompt=prompt,
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
            session=self.plan.scenario.noise_key(row.session),
            chunk=row.ordinal,
            step=row.step,
            device=self.device,
            dtype=self.dtype,
        )

    def _text(self, state: SessionState, row: Row) -> TextCache:
        """Keys and values of the prompt of *row*'s chunk, read when the first row asks for it."""
        scenario = self.plan.scenario
        prompt = scenario.prompt_of(state.session, row.chunk)
        number = scenario.prompt_number(state.session, row.chunk)
        if number not in state.cache.likeness:
            state.cache.enter_prompt(number, self._likeness(state.session, number))
        if prompt not in state.texts:
            state.texts[prompt] = self._read(prompt)
        text = state.texts[prompt]
        if len(state.texts) > 1 and row.step == self._steps - 1:
            # chunks pass a step in order: only this chunk's prompt and later ones are to come
            needed = scenario.prompts_after(state.session, row.chunk)
            state.texts = {name: text for name, text in state.texts.items() if name in needed}
        return text

    def _likeness(self, session: int, number: int) -> dict[int, float]:
        """Cosine between the embedding of a session's prompt and those of earlier ones."""
        prompts = self.plan.scenario.prompts_by_number(session)
        own, *earlier = (self.prompts(prompts[n]).flatten() for n in (number, *range(number)))
        return {n: float(cosine_similarity(own, one, 0)) for n, one in enumerate(earlier)}

    def _read(self, prompt: str) -> TextCache:
        return self.dit.read_text(upload(self.prompts(prompt).to(self.dtype), self.device))
