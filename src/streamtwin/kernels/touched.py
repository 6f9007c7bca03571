"""Which keys and values does a pass read and write, of which sessions and under which prompts?

The host works this out once a pass. What comes again from pass to pass (whose caches, which rows,
how much of them) makes the `key` of a recording; what differs (the slots written) can be read
from a tensor on the device instead, so one recording serves a ring whose slots rotate and sinks
that each block replaces on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from streamtwin.kernels.cache import PassPlan, PassRow, StageCache, TextCache


@dataclass(frozen=True, slots=True)
class SessionRows:
    """Neighbouring rows of a pass that belong to one session.

    Attributes:
        rows: where they stand in the pass.
        cache: the session's keys and values.
        plan: which of its slots these rows write and attend.
        slots: the slots written, [blocks, frames] of int64 on the device as `StageCache.scatter`
            takes them; None where the host says them.
    """

    rows: slice
    cache: StageCache
    plan: PassPlan
    slots: Tensor | None = None

    def write(self, block: int, k: Tensor, v: Tensor) -> None:
        """Put rotated keys and values [B, T'*S, heads, head_dim] of these rows into the cache."""
        if self.slots is None:
            self.cache.write(block, self.plan, k, v)
        else:
            self.cache.scatter(block, self.slots[block], k, v)


@dataclass(frozen=True, slots=True)
class PromptRows:
    """Neighbouring rows of a pass under one prompt, and that prompt's keys and values."""

    rows: slice
    text: TextCache


@dataclass(frozen=True, slots=True)
class Touched:
    """What a pass touches beside its inputs: rows by session and by prompt, in order."""

    sessions: tuple[SessionRows, ...]
    prompts: tuple[PromptRows, ...]

    @property
    def replayable(self) -> bool:
        """Whether a recording can do it: no kept key is turned, which happens too rarely to record."""
        return not any(any(own.plan.turns) for own in self.sessions)

    @property
    def key(self) -> tuple[tuple[int, ...], ...]:
        """Tells apart, of passes with the same `owners`, those that a recording must."""
        sessions = ((own.rows.start, *own.plan.kv_rows, *own.plan.lengths) for own in self.sessions)
        return (*sessions, tuple(part.rows.start for part in self.prompts))

    @property
    def owners(self) -> tuple[Tensor, ...]:
        """Tensors of sessions and prompts that the pass reads and writes where they lie."""
        texts = (tensor for part in self.prompts for tensor in (*part.text.k, *part.text.v))
        return (*(tensor for own in self.sessions for tensor in own.cache.tensors), *texts)

    def slots(self) -> Tensor:
        """The slots that each block and row writes, int64 [blocks, B * T'] on the host."""
        return torch.cat([own.cache.slots(own.plan) for own in self.sessions], dim=1)

    def reading(self, slots: Tensor, frames: int) -> Self:
        """The same pass, with the *slots* written read from the device; *frames* of each row."""
        sessions = tuple(
            replace(own, slots=slots[:, own.rows.start * frames : own.rows.stop * frames])
            for own in self.sessions
        )
        return replace(self, sessions=sessions)


def touched(
    rows: Sequence[PassRow], caches: Sequence[StageCache], texts: Sequence[TextCache]
) -> Touched:
    """What a pass of *rows* touches, given the cache and the prompt of each; moves the books on.

    To be called once a pass.

    Raises:
        ValueError: rows of a session do not stand together, or do not fit its cache.
    """
    if not len(caches) == len(texts) == len(rows):
        raise ValueError(
            f"{len(rows)} rows need a cache and a text each: {len(caches)}, {len(texts)}"
        )
    parts = _runs(caches)
    if len(parts) != len({id(cache) for cache in caches}):
        raise ValueError("rows of one session must stand together")
    sessions = (
        SessionRows(part, caches[part.start], caches[part.start].plan(rows[part])) for part in parts
    )
    prompts = (PromptRows(part, texts[part.start]) for part in _runs(texts))
    return Touched(tuple(sessions), tuple(prompts))


def _runs(owners: Sequence[object]) -> list[slice]:
    """Slices of neighbours that are the same object."""
    starts = [i for i, owner in enumerate(owners) if i == 0 or owner is not owners[i - 1]]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(owners)], strict=True)]
