"""What does one block of the Causal-DiT compute?

Layers of the Wan 2.1 transformer with its checkpoint names. They hold weights only: everything
that belongs to a session comes in as a `BlockPass`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamtwin.core.specs import ModelSpec
from streamtwin.kernels.attention import Attend
from streamtwin.kernels.cache import TextCache
from streamtwin.kernels.lean import Gelu, LayerNorm, Layers, Linear, RMSNorm, at_hand
from streamtwin.kernels.rope import rotate
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.touched import SessionRows, Touched

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class BlockParts:
    """What a block does around its two attentions.

    None of it knows which slots, prompts or how many tokens are attended, so its shapes change
    with rows and frames alone: few enough to compile each.
    """

    opening: Callable[["Block", Tensor, Tensors, Tensor], tuple[Tensor, Tensor, Tensor]]
    middle: Callable[["Block", Tensor, Tensor, Tensors], tuple[Tensor, Tensor]]
    closing: Callable[["Block", Tensor, Tensor, Tensors], Tensor]
    real_rotations: bool = False
    """Whether `opening` takes the rotations as real numbers (see `rope.rotate`)."""


@dataclass(frozen=True, slots=True)
class BlockPass:
    """What the blocks of one pass share.

    Attributes:
        modulation: e0, per-frame shifts, scales and gates, [B, T', 6, d].
        rotations: from `rope.pass_rotations`, [B, T'*S, 1, head_dim/2].
        touched: whose keys and values the rows write and attend.
        parts: how a block computes what lies around its attentions.
        attend: how attention is computed.
        sequence: the members that share the pass, each with its own tokens (S is S/G then).
    """

    modulation: Tensor
    rotations: Tensor
    touched: Touched
    parts: BlockParts
    attend: Attend
    sequence: SequenceGroup | None = None


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def sinusoid(timesteps: Tensor, size: int) -> Tensor:
    """Cosines then sines of timesteps [...] at *size*/2 frequencies; float64 [..., size]."""
    half = size // 2
    index = torch.arange(half, dtype=torch.float64, device=timesteps.device)
    angles = timesteps.double()[..., None] * torch.exp(index * (-math.log(10000.0) / half))
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """LayerNorm without gains of [B, T', S, d], then * (1 + scale) + shift per frame."""
    return torch.addcmul(shift, torch.layer_norm(x, x.shape[-1:], None, None, eps), scale + 1)


class Attention(nn.Module):
    """Projections of one attention: q, k, v, o with bias, RMS norm of q and k over the full d."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        d = spec.dim
        self.split = (spec.heads, spec.head_dim)
        self.q, self.k = Linear(d, d), Linear(d, d)
        self.v, self.o = Linear(d, d), Linear(d, d)
        self.norm_q, self.norm_k = RMSNorm(d, spec.eps), RMSNorm(d, spec.eps)
        at_hand(self)

    def queries(self, x: Tensor) -> Tensor:
        """[B, .., d] -> normed queries [B, L, heads, head_dim]."""
        return self.norm_q(self.q(x)).view(x.shape[0], -1, *self.split)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, .., d] -> normed keys and values [B, L, heads, head_dim]."""
        shape = (x.shape[0], -1, *self.split)
        return self.norm_k(self.k(x)).view(shape), self.v(x).view(shape)


class SelfAttention(Attention):
    """Attention over the session's window; writes its own keys and values first."""

    def project(self, x: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, .., d] -> rotated queries and keys, and values, [B, L, heads, head_dim] each."""
        k, v = self.keys_values(x)
        return rotate(self.queries(x), rotations), rotate(k, rotations), v

    @classmethod
    def window(cls, q: Tensor, k: Tensor, v: Tensor, index: int, work: BlockPass) -> Tensor:
        """Put *k* and *v* into the sessions' caches and attend what these hold; before `o`.

        [B, L, heads, head_dim] each -> [B, L, d]; with the members that share the pass, if there
        are any. *index* counts the stage's own blocks from 0.
        """

        def store(k: Tensor, v: Tensor) -> None:
            for own in work.touched.sessions:
                own.write(index, k[own.rows], v[own.rows])

        def attend(q: Tensor, attention: Attend = work.attend) -> Tensor:
            sessions = work.touched.sessions
            return _joined([cls._attend(q[own.rows], index, own, attention) for own in sessions])

        if work.sequence is not None:
            return work.sequence.attend(q, k, v, store, attend)
        store(k, v)
        return attend(q)

    @staticmethod
    def _attend(q: Tensor, index: int, own: SessionRows, attend: Attend) -> Tensor:
        plan, cache = own.plan, own.cache
        if plan.uniform:
            return attend(q, *cache.view(index, plan.kv_rows, plan.lengths[0]))
        # Rows whose windows are filled differently (a stream's first chunks) go one by one.
        rows = zip(q.unbind(), plan.kv_rows, plan.lengths, strict=True)
        return torch.cat([attend(r[None], *cache.view(index, (n,), K)) for r, n, K in rows])


class CrossAttention(Attention):
    """Attention to the text, whose keys and values were computed once per prompt."""

    @classmethod
    def prompts(cls, q: Tensor, index: int, work: BlockPass) -> Tensor:
        """Queries [B, L, heads, head_dim] -> [B, L, d] before `o`; padding is attended too."""
        attended = [
            cls._attend(q[part.rows], index, part.text, work.attend)
            for part in work.touched.prompts
        ]
        return _joined(attended)

    @staticmethod
    def _attend(q: Tensor, index: int, text: TextCache, attend: Attend) -> Tensor:
        # Rows that see the same text attend as one long row: no expanded copy of it.
        out = attend(q.flatten(0, 1)[None], text.k[index][None], text.v[index][None])
        return out.view(*q.shape[:2], -1)


class Block(nn.Module):
    """One transformer block: modulated self-attention, cross-attention, modulated FFN."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        d = spec.dim
        self.eps = spec.eps
        self.modulation = nn.Parameter(torch.empty(1, 6, d))
        self.self_attn = SelfAttention(spec)
        self.norm3 = LayerNorm(d, spec.eps)
        self.cross_attn = CrossAttention(spec)
        self.ffn = Layers(Linear(d, spec.ffn_dim), Gelu(), Linear(spec.ffn_dim, d))
        at_hand(self)

    def forward(self, x: Tensor, index: int, work: BlockPass) -> Tensor:
        """[B, T', S, d] -> [B, T', S, d]; *index* counts the stage's own blocks from 0."""
        parts = work.parts
        # Six of [B, T', 1, d], broadcast over the tokens of a frame: shift, scale and gate of the
        # self-attention, then of the FFN.
        m = (work.modulation + self.modulation).unsqueeze(3).unbind(2)
        q, k, v = parts.opening(self, x, m, work.rotations)
        x, q = parts.middle(self, x, self.self_attn.window(q, k, v, index, work), m)
        return parts.closing(self, x, self.cross_attn.prompts(q, index, work), m)

    __call__ = forward

    def opening(self, x: Tensor, m: Tensors, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, T', S, d] -> rotated queries and keys, and values of the self-attention."""
        return self.self_attn.project(modulate(x, m[0], m[1], self.eps), rotations)

    def middle(self, x: Tensor, y: Tensor, m: Tensors) -> tuple[Tensor, Tensor]:
        """Tokens and what they attended, [B, T'*S, d] -> tokens and queries of the text."""
        x = torch.addcmul(x, self.self_attn.o(y).view_as(x), m[2])
        return x, self.cross_attn.queries(self.norm3(x))

    def closing(self, x: Tensor, y: Tensor, m: Tensors) -> Tensor:
        """Tokens and what they attended of the text, [B, T'*S, d] -> tokens."""
        x = x + self.cross_attn.o(y).view_as(x)
        return torch.addcmul(x, self.ffn(modulate(x, m[3], m[4], self.eps)), m[5])


EAGER = BlockParts(Block.opening, Block.middle, Block.closing)
"""Operator by operator, as PyTorch runs them."""


class PatchEmbedding(nn.Module):
    """Linear map of 1 x p x p patches; its weight has the shape of the checkpoint's Conv3d."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        p = self.patch = spec.patch
        self.weight = nn.Parameter(torch.empty(spec.dim, spec.latent_channels, 1, p, p))
        self.bias = nn.Parameter(torch.empty(spec.dim))

    def forward(self, latents: Tensor) -> Tensor:
        """[B, T', C, h, w] -> [B, T'*S, d], tokens in row-major order within a frame."""
        B, T, C, h, w = latents.shape
        p = self.patch
        cells = latents.reshape(B, T, C, h // p, p, w // p, p).permute(0, 1, 3, 5, 2, 4, 6)
        return F.linear(cells.reshape(B, -1, C * p * p), self.weight.flatten(1), self.bias)

    __call__ = forward


class Head(nn.Module):
    """Modulated norm and the map from tokens back to patches."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.eps, self.patch = spec.eps, spec.patch
        self.head = Linear(spec.dim, spec.latent_channels * spec.patch**2)
        self.modulation = nn.Parameter(torch.empty(1, 2, spec.dim))

    def forward(self, x: Tensor, e: Tensor, grid: tuple[int, int]) -> Tensor:
        """[B, T'*S, d] and time embedding [B, T', d] -> [B, T', C, h, w]."""
        B, T = e.shape[:2]
        shift, scale = (e[:, :, None] + self.modulation).unsqueeze(3).unbind(2)
        y = self.head(modulate(x.view(B, T, -1, x.shape[-1]), shift, scale, self.eps))
        p, (rows, columns) = self.patch, grid
        # Channels run fastest within a patch: (p, p, C).
        cells: Tensor = y.view(B, T, rows, columns, p, p, -1).permute(0, 1, 6, 2, 4, 3, 5)
        return cells.reshape(B, T, -1, rows * p, columns * p)

    __call__ = forward
