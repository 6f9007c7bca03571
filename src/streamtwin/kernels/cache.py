"""Where does one session keep its keys and values, and which slots does a pass touch?

Slot arithmetic happens on the host, once a pass, on plain integers: nothing here waits for a
device. Keys are stored already rotated at their absolute positions, so the order of the slots
carries no meaning and a ring needs no shifting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamtwin.core.window import Window


@dataclass(frozen=True, slots=True)
class PassRow:
    """One row of a batched pass.

    Attributes:
        kv_row: KV row of the session, which is its denoising step.
        first_frame: absolute latent frame index of the chunk's first frame.
        frames: T', latent frames in the chunk.
        position: temporal RoPE position of the first frame, when it is not its index.
        sink: slot of a sink that the first frame takes over, when a sink is refreshed.
    """

    kv_row: int
    first_frame: int
    frames: int
    position: int | None = None
    sink: int | None = None

    @property
    def first_position(self) -> int:
        """Temporal RoPE position of the first frame."""
        return self.first_frame if self.position is None else self.position

    def slot(self, offset: int, window: Window) -> int:
        """Slot of the chunk's frame number *offset*."""
        if offset == 0 and self.sink is not None:
            return self.sink
        return window.slot(self.first_frame + offset)


@dataclass(frozen=True, slots=True)
class Write:
    """One contiguous copy: *tokens* tokens of batch row *batch* into slots of *kv_row*."""

    batch: int
    kv_row: int
    source: int
    target: int
    tokens: int


@dataclass(frozen=True, slots=True)
class PassPlan:
    """What a pass writes and attends, in tokens; the same for every block of the stage."""

    writes: tuple[Write, ...]
    kv_rows: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def uniform(self) -> bool:
        """Whether all rows attend equally many tokens, so that one attention call serves them."""
        return len(set(self.lengths)) == 1


def _runs(row: PassRow, window: Window) -> list[tuple[int, int, int]]:
    """(first frame within the chunk, first slot, frames) of each contiguous run of slots."""
    runs: list[tuple[int, int, int]] = []
    for offset in range(row.frames):
        slot = row.slot(offset, window)
        if runs and runs[-1][1] + runs[-1][2] == slot:
            start, first, count = runs[-1]
            runs[-1] = (start, first, count + 1)
        else:
            runs.append((offset, slot, 1))
    return runs


def _check(rows: Sequence[PassRow], kv_rows: int, window: Window) -> None:
    if not rows:
        raise ValueError("a pass needs at least one row")
    if len({row.kv_row for row in rows}) < len(rows):
        raise ValueError(f"rows share a KV row: {[row.kv_row for row in rows]}; give each its own")
    for row in rows:
        if not 0 <= row.kv_row < kv_rows:
            raise ValueError(f"kv_row = {row.kv_row}: choose one of 0..{kv_rows - 1}")
        if row.frames < 1 or row.first_frame < 0:
            raise ValueError(f"{row}: frames must be >= 1 and first_frame >= 0")
        if row.sink is not None and not 0 <= row.sink < window.sink:
            raise ValueError(f"sink = {row.sink}: choose one of the {window.sink} sink slots")
        if len({row.slot(offset, window) for offset in range(row.frames)}) < row.frames:
            raise ValueError(
                f"{row.frames} frames from frame {row.first_frame} on do not fit the window: "
                f"{window.frames} frames, of which {window.sink} are sinks"
            )


@dataclass(frozen=True, slots=True)
class BlockState:
    """Everything that a session keeps for one block, as it moves between ranks.

    Attributes:
        k: rotated keys, [kv_rows, window.frames * S, heads, head_dim].
        v: values, same shape.
    """

    k: Tensor
    v: Tensor


@dataclass(frozen=True, slots=True)
class TextCache:
    """Keys and values of one prompt for the blocks that one stage holds.

    Attributes:
        k: text keys of each block, [text_len, heads, head_dim].
        v: text values, same shape.
    """

    k: list[Tensor]
    v: list[Tensor]

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(part.nbytes for part in (*self.k, *self.v))

    def take(self, block: int) -> tuple[Tensor, Tensor]:
        """Remove *block*, counted from 0, and return its keys and values."""
        return self.k.pop(block), self.v.pop(block)

    def put(self, block: int, k: Tensor, v: Tensor) -> None:
        """Insert keys and values so that they become those of block number *block*."""
        self.k.insert(block, k)
        self.v.insert(block, v)


class StageCache:
    """Keys and values of one session for the blocks that one stage holds.

    Each block has tensors of its own, so that one can leave or come without a copy of the others.

    Attributes:
        k: rotated keys of each block, [kv_rows, window.frames * S, heads, head_dim].
        v: values, same shape.
    """

    def __init__(
        self,
        blocks: int,
        kv_rows: int,
        window: Window,
        *,
        tokens: int,
        heads: int,
        head_dim: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.window = window
        self.tokens = tokens
        self.kv_rows = kv_rows
        """Denoising steps this session keeps apart."""
        length = window.frames * tokens
        # Zeros rather than empty: a slot that was never written must not hold NaN bit patterns,
        # which a whole-cache copy or transfer would carry along.
        shape = (kv_rows, length, heads, head_dim)
        self.k = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(blocks)]
        self.v = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(blocks)]

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(part.nbytes for part in (*self.k, *self.v))

    def plan(self, rows: Sequence[PassRow]) -> PassPlan:
        """Work out which tokens *rows* write and attend.

        Raises:
            ValueError: a KV row is out of range or named twice, or a chunk exceeds the window.
        """
        _check(rows, self.kv_rows, self.window)
        S = self.tokens
        writes = tuple(
            Write(batch, row.kv_row, start * S, slot * S, count * S)
            for batch, row in enumerate(rows)
            for start, slot, count in _runs(row, self.window)
        )
        last = [row.first_frame + row.frames - 1 for row in rows]
        lengths = tuple(self.window.filled(frame) * S for frame in last)
        return PassPlan(writes, tuple(row.kv_row for row in rows), lengths)

    def write(self, block: int, plan: PassPlan, k: Tensor, v: Tensor) -> None:
        """Put a pass's rotated keys and values [B, T'*S, heads, head_dim] into their slots.

        *block* counts the stage's own blocks from 0.
        """
        for w in plan.writes:
            slots = slice(w.target, w.target + w.tokens)
            source = slice(w.source, w.source + w.tokens)
            self.k[block][w.kv_row, slots] = k[w.batch, source]
            self.v[block][w.kv_row, slots] = v[w.batch, source]

    def view(self, block: int, kv_rows: Sequence[int], tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values [len(kv_rows), tokens, heads, head_dim] of the filled slots.

        Consecutive rows come as a view; any other choice of rows is gathered into a copy.
        """
        first, count = kv_rows[0], len(kv_rows)
        if tuple(kv_rows) == tuple(range(first, first + count)):
            rows = slice(first, first + count)
            return self.k[block][rows, :tokens], self.v[block][rows, :tokens]
        k = torch.stack([self.k[block][row, :tokens] for row in kv_rows])
        v = torch.stack([self.v[block][row, :tokens] for row in kv_rows])
        return k, v

    def repeat_first_row(self) -> None:
        """Copy KV row 0 to all rows, as is done once the first chunk has been denoised."""
        for part in (*self.k, *self.v):
            part[1:] = part[:1]

    def take(self, block: int) -> BlockState:
        """Remove *block*, counted from 0, and return all that belongs to it."""
        return BlockState(self.k.pop(block), self.v.pop(block))

    def put(self, block: int, state: BlockState) -> None:
        """Insert *state* so that it becomes the block number *block*, counted from 0."""
        self.k.insert(block, state.k)
        self.v.insert(block, state.v)
