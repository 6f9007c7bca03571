"""How do the members of a stage share a pass: who holds which tokens, and how do they meet?

Each latent frame's S tokens are split into G equal shares in order; member g holds share g of
every frame. Layers that treat tokens one by one need nothing of the others. Self-attention does:

- Ulysses (Jacobs et al. 2023, DeepSpeed-Ulysses): one all-to-all gives every member all tokens
  of heads / G heads, a second one takes the result back. Its cache holds all tokens of its heads.
- Ring: a member's cache holds its own tokens of all heads. Queries travel round the ring, every
  member attends its keys with them, and the parts are merged at home. In ring attention (Liu et
  al. 2023) keys and values travel instead; a stream's window holds several times as many keys as a
  pass has queries, so here that would send several times as much ("pass-Q" of Yang et al. 2024,
  Context Parallelism for Scalable Million-Token Inference).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from streamtwin.core.sequence import Parallelism
from streamtwin.kernels.merged_attention import merge, partial_attention

LEADER = 0
"""The member that does what only one can: messages of the pipeline, both ends of the model."""

Store = Callable[[Tensor, Tensor], None]
"""Puts keys and values [B, L, heads, head_dim] into the cache."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attends keys and values with queries, [B, L, heads, head_dim] each; the result keeps B and L."""


class Attend(Protocol):
    """How a member attends what its cache holds."""

    def __call__(self, q: Tensor, attention: Attention = ...) -> Tensor:
        """Attend with q [B, L, heads, head_dim] -> [B, L, heads * head_dim].

        Another *attention* than the usual one may make something else of it.
        """


@dataclass(frozen=True, slots=True)
class SequenceGroup:
    """One member's place among those that share its stage's passes.

    Attributes:
        method: how tokens are attended that others hold, `ulysses` or `ring`.
        rank: g, this member; 0 leads.
        size: G, members of the stage.
        tokens: S/G, this member's tokens of a latent frame.
        ranks: the members' ranks in the run, in order.
        group: their process group.
        waiting: entered wherever the host may have to wait for another member.
    """

    method: Parallelism
    rank: int
    size: int
    tokens: int
    ranks: tuple[int, ...]
    group: dist.ProcessGroup | None
    waiting: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def leads(self) -> bool:
        """Whether this member leads its stage."""
        return self.rank == LEADER

    def cached_heads(self, heads: int) -> int:
        """Of a model's *heads*, those whose keys this member keeps."""
        return heads // self.size if self.method == "ulysses" else heads

    @property
    def cached_tokens(self) -> int:
        """Tokens of a latent frame whose keys this member keeps."""
        return self.tokens * (self.size if self.method == "ulysses" else 1)

    def own(self, x: Tensor, axis: int) -> Tensor:
        """This member's share of each frame: T' * S tokens of x along *axis* become T' * S/G."""
        frames = torch.unflatten(x, axis, (-1, self.size, self.tokens))
        return frames.select(axis + 1, self.rank).flatten(axis, axis + 1)

    def broadcast(self, x: Tensor) -> Tensor:
        """Fill *x* with the leader's."""
        with self.waiting():
            dist.broadcast(x, self.ranks[LEADER], group=self.group)
        return x

    def scatter(self, hidden: Tensor | None, own: Tensor) -> Tensor:
        """Fill *own* [B, T'*S/G, d] with this member's share of the leader's *hidden* [B, T'*S, d].

        Shares and not the whole: a broadcast would send G times as much.
        """
        shares = None
        if hidden is not None:
            frames = torch.unflatten(hidden, 1, (-1, self.size, self.tokens)).unbind(2)
            shares = [frame.flatten(1, 2).contiguous() for frame in frames]
        with self.waiting():
            dist.scatter(own, shares, src=self.ranks[LEADER], group=self.group)
        return own

    def gather(self, own: Tensor) -> Tensor:
        """Join the members' shares [B, T'*S/G, d] to [B, T'*S, d] at the leader; others keep *own*."""
        own = own.contiguous()
        shares = [torch.empty_like(own) for _ in range(self.size)] if self.leads else None
        with self.waiting():
            dist.gather(own, shares, dst=self.ranks[LEADER], group=self.group)
        if shares is None:
            return own
        frames = [torch.unflatten(share, 1, (-1, self.tokens)) for share in shares]
        return torch.stack(frames, dim=2).flatten(1, 3)

    def join_means(self, means: Tensor) -> Tensor:
        """Means over the tokens that a member holds [.., heads, head_dim] -> those of whole frames.

        Every member adds the same numbers in the same order: what it decides by them is what all
        decide. An all-reduce need not promise that.
        """
        parts = [torch.empty_like(means) for _ in range(self.size)]
        with self.waiting():
            dist.all_gather(parts, means, group=self.group)
        if self.method == "ulysses":
            return torch.cat(parts, dim=-2)
        return torch.stack(parts).mean(0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, store: Store, attend: Attend) -> Tensor:
        """Self-attention of this member's tokens to all that the members' caches hold.

        q, k and v are [B, T'*S/G, heads, head_dim], keys and queries rotated. Returns
        [B, T'*S/G, heads * head_dim].
        """
        share = self._ulysses if self.method == "ulysses" else self._ring
        return share(q, k, v, store, attend).flatten(2)

    def _ulysses(self, q: Tensor, k: Tensor, v: Tensor, store: Store, attend: Attend) -> Tensor:
        q, k, v = self.to_heads(torch.stack([q, k, v])).unbind()
        store(k, v)
        return self.to_tokens(attend(q).view(q.shape))

    def _ring(self, q: Tensor, k: Tensor, v: Tensor, store: Store, attend: Attend) -> Tensor:
        store(k, v)
        q, parts = q.contiguous(), []
        for turn in range(self.size):
            coming = self.pass_on(q) if turn + 1 < self.size else None
            # what is attended now is on its way meanwhile: a card does both at once
            parts.append(attend(q, partial_attention))
            if coming is not None:
                q = coming()
        # in turn t the queries of member rank - t were here; parts go back in order of members
        homes = [parts[(self.rank - home) % self.size] for home in range(self.size)]
        return merge(self.exchange(torch.stack(homes)))

    def to_heads(self, x: Tensor) -> Tensor:
        """Own tokens of all heads -> all tokens of own heads: [n, B, T'*S/G, H, D] -> [.., H/G, D]."""
        G = self.size
        got = self.exchange(torch.unflatten(x, 3, (G, -1)).movedim(3, 0))
        # [member, n, B, T', S/G, ...]: within a frame, the shares stand in order of the members
        frames = torch.unflatten(got, 3, (-1, self.tokens)).movedim(0, 3)
        return frames.flatten(2, 4)

    def to_tokens(self, x: Tensor) -> Tensor:
        """The way back: [B, T'*S, H/G, D] of own heads -> [B, T'*S/G, H, D] of own tokens."""
        shares = torch.unflatten(x, 1, (-1, self.size, self.tokens)).movedim(2, 0)
        got = self.exchange(shares)  # [member, B, T', S/G, H/G, D]
        return got.movedim(0, 3).flatten(3, 4).flatten(1, 2)

    def exchange(self, x: Tensor) -> Tensor:
        """All-to-all: send x[g] to member g; the result's [g] is what member g sent here."""
        x = x.contiguous()
        received = torch.empty_like(x)
        with self.waiting():
            dist.all_to_all_single(received, x, group=self.group)
        return received

    def pass_on(self, x: Tensor) -> Callable[[], Tensor]:
        """Send *x* to the next member; the result waits for what the member before sends.

        Both are posted as one batch. With NCCL messages of one pair of members queue up behind
        each other: were each to send first and receive then, neither would ever receive.
        """
        received = torch.empty_like(x)
        following = self.ranks[(self.rank + 1) % self.size]
        before = self.ranks[(self.rank - 1) % self.size]
        handles = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, x, following, self.group),
                dist.P2POp(dist.irecv, received, before, self.group),
            ]
        )

        def wait() -> Tensor:
            with self.waiting():
                for handle in handles:
                    handle.wait()
            return received

        return wait
