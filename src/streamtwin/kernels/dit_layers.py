"""What does one block of the Causal-DiT compute?

Layers of the Wan 2.1 transformer with its checkpoint names. They hold weights only: everything
that belongs to a session comes in as a `BlockPass`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamtwin.core.specs import ModelSpec
from streamtwin.kernels.cache import PassPlan, StageCache, TextCache
from streamtwin.kernels.rope import rotate
from streamtwin.kernels.sequence import Attention as AttentionKernel
from streamtwin.kernels.sequence import SequenceGroup


@dataclass(frozen=True, slots=True)
class SessionRows:
    """Neighbouring rows of a pass that belong to one session.

    Attributes:
        rows: where they stand in the pass.
        cache: the session's keys and values.
        plan: which of its slots these rows write and attend.
    """

    rows: slice
    cache: StageCache
    plan: PassPlan


@dataclass(frozen=True, slots=True)
class PromptRows:
    """Neighbouring rows of a pass under one prompt, and that prompt's keys and values."""

    rows: slice
    text: TextCache


@dataclass(frozen=True, slots=True)
class BlockPass:
    """What the blocks of one pass share.

    Attributes:
        modulation: e0, per-frame shifts, scales and gates, [B, T', 6, d].
        rotations: from `rope.pass_rotations`, [B, T'*S, 1, head_dim/2].
        sessions: the rows by session, in order.
        prompts: the rows by prompt, in order.
        sequence: the members that share the pass, each with its own tokens (S is S/G then).
    """

    modulation: Tensor
    rotations: Tensor
    sessions: tuple[SessionRows, ...]
    prompts: tuple[PromptRows, ...]
    sequence: SequenceGroup | None = None


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Non-causal attention over [B, L, heads, head_dim]; returns [B, L, heads * head_dim]."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """LayerNorm without gains of [B, T', S, d], then * (1 + scale) + shift per frame."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), scale + 1)


class Attention(nn.Module):
    """Projections of one attention: q, k, v, o with bias, RMS norm of q and k over the full d."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        d = spec.dim
        self.split = (spec.heads, spec.head_dim)
        self.q, self.k = nn.Linear(d, d), nn.Linear(d, d)
        self.v, self.o = nn.Linear(d, d), nn.Linear(d, d)
        self.norm_q, self.norm_k = nn.RMSNorm(d, spec.eps), nn.RMSNorm(d, spec.eps)

    def queries(self, x: Tensor) -> Tensor:
        """[B, L, d] -> normed queries [B, L, heads, head_dim]."""
        heads: Tensor = self.norm_q(self.q(x)).unflatten(-1, self.split)
        return heads

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L, d] -> normed keys and values [B, L, heads, head_dim]."""
        k: Tensor = self.norm_k(self.k(x)).unflatten(-1, self.split)
        v: Tensor = self.v(x).unflatten(-1, self.split)
        return k, v


class SelfAttention(Attention):
    """Attention over the session's window; writes its own keys and values first."""

    def forward(self, x: Tensor, index: int, work: BlockPass) -> Tensor:
        """[B, T'*S, d] -> [B, T'*S, d]; *index* counts the stage's own blocks from 0."""
        q = rotate(self.queries(x), work.rotations)
        k, v = self.keys_values(x)
        k = rotate(k, work.rotations)
        out: Tensor = self.o(self._share(q, k, v, index, work))
        return out

    def _share(self, q: Tensor, k: Tensor, v: Tensor, index: int, work: BlockPass) -> Tensor:
        """Write keys and values, then attend: alone, or with the members that share the pass."""

        def store(k: Tensor, v: Tensor) -> None:
            for own in work.sessions:
                own.cache.write(index, own.plan, k[own.rows], v[own.rows])

        def attend(q: Tensor, attention: AttentionKernel = _attention) -> Tensor:
            attended = [self._attend(q[o.rows], index, o, attention) for o in work.sessions]
            return _joined(attended)

        if work.sequence is not None:
            return work.sequence.attend(q, k, v, store, attend)
        store(k, v)
        return attend(q)

    @staticmethod
    def _attend(q: Tensor, index: int, own: SessionRows, attention: AttentionKernel) -> Tensor:
        plan, cache = own.plan, own.cache
        if plan.uniform:
            return attention(q, *cache.view(index, plan.kv_rows, plan.lengths[0]))
        # Rows whose windows are filled differently (a stream's first chunks) go one by one.
        rows = zip(q.unbind(), plan.kv_rows, plan.lengths, strict=True)
        return torch.cat([attention(r[None], *cache.view(index, (n,), K)) for r, n, K in rows])


class CrossAttention(Attention):
    """Attention to the text, whose keys and values were computed once per prompt."""

    def forward(self, x: Tensor, index: int, work: BlockPass) -> Tensor:
        """[B, L, d] -> [B, L, d]; all text positions are attended, padding included."""
        q = self.queries(x)
        attended = [self._attend(q[own.rows], index, own.text) for own in work.prompts]
        y: Tensor = self.o(_joined(attended))
        return y

    @staticmethod
    def _attend(q: Tensor, index: int, text: TextCache) -> Tensor:
        # Rows that see the same text attend as one long row: no expanded copy of it.
        out = _attention(q.flatten(0, 1)[None], text.k[index][None], text.v[index][None])
        return out.view(*q.shape[:2], -1)


class Block(nn.Module):
    """One transformer block: modulated self-attention, cross-attention, modulated FFN."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        d = spec.dim
        self.eps = spec.eps
        self.modulation = nn.Parameter(torch.empty(1, 6, d))
        self.self_attn = SelfAttention(spec)
        self.norm3 = nn.LayerNorm(d, spec.eps)
        self.cross_attn = CrossAttention(spec)
        self.ffn = nn.Sequential(
            nn.Linear(d, spec.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(spec.ffn_dim, d)
        )

    def forward(self, x: Tensor, index: int, work: BlockPass) -> Tensor:
        """[B, T'*S, d] -> [B, T'*S, d]; *index* counts the stage's own blocks from 0."""
        # [B, T', 1, d] each, broadcast over the tokens of a frame.
        m = (work.modulation + self.modulation).unsqueeze(3).unbind(2)
        B, T, _, d = work.modulation.shape
        frames = x.view(B, T, -1, d)
        y = self.self_attn(modulate(frames, m[0], m[1], self.eps).flatten(1, 2), index, work)
        x = torch.addcmul(frames, y.view(frames.shape), m[2]).flatten(1, 2)
        x = x + self.cross_attn(self.norm3(x), index, work)
        frames = x.view(frames.shape)
        y = self.ffn(modulate(frames, m[3], m[4], self.eps))
        return torch.addcmul(frames, y, m[5]).flatten(1, 2)


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


class Head(nn.Module):
    """Modulated norm and the map from tokens back to patches."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.eps, self.patch = spec.eps, spec.patch
        self.head = nn.Linear(spec.dim, spec.latent_channels * spec.patch**2)
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
