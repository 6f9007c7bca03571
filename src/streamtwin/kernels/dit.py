"""What does one stage of the Causal-DiT compute, from latents to velocities?

A stage owns a contiguous interval of blocks and, at the ends of the model, the embedding and the
head. It holds weights only; a session's state is the `StageCache` that the caller passes in, so
sessions share one stage. Nothing in a forward pass makes the host wait for the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamtwin.core.specs import ModelSpec, Resolution
from streamtwin.core.window import Window
from streamtwin.kernels.attention import (
    Attend,
    attend,
    chosen_backends,
    implementation,
    priority,
)
from streamtwin.kernels.cache import PassRow, StageCache, TextCache
from streamtwin.kernels.dit_layers import (
    EAGER,
    Block,
    BlockParts,
    BlockPass,
    Head,
    PatchEmbedding,
    sinusoid,
)
from streamtwin.kernels.lean import Gelu, Layers, Linear, Silu
from streamtwin.kernels.rope import frame_positions, pass_rotations, space_rotations
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.touched import Touched, touched


class DiTStage(nn.Module):
    """The blocks *blocks* of a Causal-DiT at one resolution; keys as in Wan 2.1 checkpoints.

    With a *sequence*, its members run the blocks together: `forward` and its cache then have this
    member's S/G tokens of each frame where S stands.
    """

    def __init__(
        self,
        spec: ModelSpec,
        resolution: Resolution,
        blocks: range,
        *,
        embeds: bool,
        heads_out: bool,
        sequence: SequenceGroup | None = None,
    ) -> None:
        super().__init__()
        if blocks.step != 1 or blocks.start < 0 or blocks.stop > spec.blocks:
            raise ValueError(f"blocks = {blocks}: choose an interval within 0..{spec.blocks}")
        d = spec.dim
        self.spec, self.resolution, self.interval = spec, resolution, blocks
        self.sequence = sequence
        self.text_embedding = Layers(Linear(spec.text_dim, d), Gelu(), Linear(d, d))
        self.time_embedding = Layers(Linear(spec.freq_dim, d), Silu(), Linear(d, d))
        self.time_projection = Layers(Silu(), Linear(d, 6 * d))
        self.blocks = nn.ModuleDict({str(index): Block(spec) for index in blocks})
        self.patch_embedding = PatchEmbedding(spec) if embeds else None
        self.head = Head(spec) if heads_out else None
        self.parts: BlockParts = EAGER
        """How the halves of a block are computed; see `kernels.compiled`."""
        self.backends: tuple[str, ...] = ()
        """What computes attention, in order of preference; see `choose_attention`."""
        self.attend: Attend = attend
        self._space: Tensor | None = None

    def choose_attention(self, choice: str) -> None:
        """Compute attention by *choice*, "auto" or a name, on the device of the weights.

        Raises:
            UserError: it is not there.
        """
        self.backends = chosen_backends(choice, self._weight.device, self._weight.dtype)
        self.attend = implementation(self.backends)

    @property
    def _weight(self) -> Tensor:
        """Any parameter that every stage has: tells device and dtype."""
        weight = self.time_projection[1].weight
        assert isinstance(weight, Tensor)
        return weight

    def new_cache(self, kv_rows: int, window: Window) -> StageCache:
        """Empty state of one session for this stage's blocks, on this stage's device."""
        spec, weight, sequence = self.spec, self._weight, self.sequence
        cache = StageCache(
            len(self.interval),
            kv_rows,
            window,
            tokens=self.resolution.tokens if sequence is None else sequence.cached_tokens,
            heads=spec.heads if sequence is None else sequence.cached_heads(spec.heads),
            head_dim=spec.head_dim,
            device=weight.device,
            dtype=weight.dtype,
        )
        if sequence is not None:
            cache.watch.join = sequence.join_means
        return cache

    def read_text(self, context: Tensor) -> TextCache:
        """Keys and values of the prompt embedding *context* [(1,) text_len, text_dim].

        Raises:
            ValueError: the context has another shape.
        """
        expected = (self.spec.text_len, self.spec.text_dim)
        if tuple(context.shape) not in (expected, (1, *expected)):
            raise ValueError(f"context has shape {tuple(context.shape)}, expected {expected}")
        text = self.text_embedding(context.to(self._weight).view(1, *expected))
        pairs = [block.cross_attn.keys_values(text) for block in self._blocks()]
        return TextCache([k[0] for k, _ in pairs], [v[0] for _, v in pairs])

    @property
    def held(self) -> list[int]:
        """Global numbers of the blocks that are here, in order."""
        return [int(index) for index in self.blocks]

    def release(self, index: int) -> Block:
        """Let go of the block with the global number *index*."""
        block = self.blocks.pop(str(index))
        assert isinstance(block, Block)
        return block

    def adopt(self, index: int, weights: dict[str, Tensor]) -> int:
        """Take in block *index*, whose parameters become the tensors *weights*.

        Returns its place among the blocks that are here, counted from 0.
        """
        with torch.device("meta"):
            block = Block(self.spec)
        block.load_state_dict(weights, assign=True)
        known = dict(self.blocks.items()) | {str(index): block.eval().requires_grad_(False)}
        self.blocks = nn.ModuleDict({name: known[name] for name in sorted(known, key=int)})
        return self.held.index(index)

    def embed(self, latents: Tensor) -> Tensor:
        """Latents [B, T', C, h, w] -> tokens [B, T'*S, d].

        Raises:
            ValueError: this stage was built without the embedding.
        """
        if self.patch_embedding is None:
            raise ValueError("this stage has no patch embedding: build it with embeds=True")
        tokens: Tensor = self.patch_embedding(latents.to(self._weight.dtype))
        return tokens

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        rows: Sequence[PassRow],
        caches: Sequence[StageCache],
        texts: Sequence[TextCache],
    ) -> Tensor:
        """Run the owned blocks: tokens [B, T'*S, d], timesteps [B, T'] -> [B, T'*S, d].

        Row i writes its keys and values into its KV row of caches[i], then attends all filled
        slots of it, and the prompt texts[i]. Rows of one session stand together.

        Raises:
            ValueError: shapes and rows disagree, or rows do not fit.
        """
        self._check(x, timesteps, rows)
        positions = frame_positions(rows, timesteps.device)
        return self.advance(x, timesteps, positions, touched(rows, caches, texts))

    def advance(self, x: Tensor, timesteps: Tensor, positions: Tensor, touches: Touched) -> Tensor:
        """`forward` with all that the host has to say worked out: the device's part of a pass.

        Tokens [B, T'*S, d], timesteps and temporal *positions* (float64) [B, T'] -> [B, T'*S, d].
        Everything that varies between two passes of one key stands in tensors, so a recording of
        the pass can be replayed with other contents.
        """
        work = self._prepare(timesteps, positions, touches)
        frames = x.view(*timesteps.shape, -1, self.spec.dim)
        with priority(self.backends):
            for index, block in enumerate(self._blocks()):
                frames = block(frames, index, work)
        return frames.view_as(x)

    def unembed(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Tokens [B, T'*S, d] and timesteps [B, T'] -> velocity [B, T', C, h, w].

        Raises:
            ValueError: this stage was built without the head.
        """
        if self.head is None:
            raise ValueError("this stage has no head: build it with heads_out=True")
        velocity: Tensor = self.head(x, self._time(timesteps), self.resolution.grid)
        return velocity

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks.values() if isinstance(block, Block)]

    def _time(self, timesteps: Tensor) -> Tensor:
        """Time embedding e [B, T', d]."""
        waves = sinusoid(timesteps, self.spec.freq_dim).to(self._weight.dtype)
        e: Tensor = self.time_embedding(waves)
        return e

    def _prepare(self, timesteps: Tensor, positions: Tensor, touches: Touched) -> BlockPass:
        e0 = self.time_projection(self._time(timesteps)).view(*timesteps.shape, 6, -1)
        table = pass_rotations(positions, self.space(timesteps.device), self.spec.head_dim)
        if self.parts.real_rotations:
            table = torch.view_as_real(table)
        return BlockPass(e0, table, touches, self.parts, self.attend, self.sequence)

    def space(self, device: torch.device) -> Tensor:
        """Rotations of this stage's tokens of a frame on *device*, computed once. Do not write into it."""
        precise = self._weight.dtype == torch.float64
        kind = torch.complex128 if precise else torch.complex64
        if self._space is None or (self._space.device, self._space.dtype) != (device, kind):
            space = space_rotations(*self.resolution.grid, self.spec.head_dim, device, kind)
            self._space = space if self.sequence is None else self.sequence.own(space, 0)
        return self._space

    def _check(self, x: Tensor, timesteps: Tensor, rows: Sequence[PassRow]) -> None:
        B, T = timesteps.shape
        if len(rows) != B or any(row.frames != T for row in rows):
            raise ValueError(f"timesteps are [{B}, {T}] but the rows are {list(rows)}")
        tokens = self.resolution.tokens if self.sequence is None else self.sequence.tokens
        expected = (B, T * tokens, self.spec.dim)
        if tuple(x.shape) != expected:
            raise ValueError(f"x has shape {tuple(x.shape)}, expected {expected}")
