"""Where does one session keep its keys and values, and which slots does a pass touch?

Slot arithmetic happens on the host, once a pass, on plain integers: nothing here waits for a
device. Keys are stored already rotated at their positions, so the order of the slots carries no
meaning and a ring needs no shifting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamtwin.core.slots import Chunk, Slots, place
from streamtwin.core.window import Window
from streamtwin.kernels.rope import turn
from streamtwin.kernels.rows import PassPlan, PassRow, Placed, check_rows, placed_in_block
from streamtwin.kernels.sinks import SinkWatch

__all__ = ["BlockState", "PassPlan", "PassRow", "StageCache"]


@dataclass(frozen=True, slots=True)
class BlockState:
    """Everything that a session keeps for one block, as it moves between ranks.

    Attributes:
        k: rotated keys, [kv_rows, window.frames * S, heads, head_dim].
        v: values, same shape.
        held: book of each KV row.
        similarities: what the latest comparison of sinks found, by KV row.
    """

    k: Tensor
    v: Tensor
    held: tuple[Slots, ...]
    similarities: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, slots=True, eq=False)
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
        held: what the slots hold, a book for each block and KV row.
        watch: how alike sinks and newest frame are; empty unless somebody compares.
        likeness: of earlier prompts with each later one, by their numbers; 1 where not given.
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
        self.held = [[Slots.empty(window)] * kv_rows for _ in range(blocks)]
        self.watch = SinkWatch()
        self.likeness: dict[int, Mapping[int, float]] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(part.nbytes for part in (*self.k, *self.v))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that a pass reads and writes; others once a block has come or gone."""
        return (*self.k, *self.v)

    def plan(self, rows: Sequence[PassRow]) -> PassPlan:
        """Work out which tokens *rows* turn, write and attend, and move their books on.

        To be called once a pass.

        Raises:
            ValueError: a KV row is out of range or named twice, or a chunk exceeds the window.
        """
        check_rows(rows, self.kv_rows, self.window)
        placed: list[Placed] = []
        before: tuple[tuple[Slots, int | None], ...] = ()
        for block, books in enumerate(self.held):
            asked = tuple((books[row.kv_row], row.sink(block)) for row in rows)
            # neighbours nearly always share their books, and then the work too
            placed.append(placed[-1] if asked == before else self._place(rows, asked))
            before = asked
        for books, one in zip(self.held, placed, strict=True):
            for row, after in zip(rows, one.after, strict=True):
                books[row.kv_row] = after
        last = [row.first_frame + row.frames - 1 for row in rows]
        return PassPlan(
            tuple(one.turns for one in placed),
            tuple(one.writes for one in placed),
            tuple(row.kv_row for row in rows),
            tuple(self.window.filled(frame) * self.tokens for frame in last),
        )

    def write(self, block: int, plan: PassPlan, k: Tensor, v: Tensor) -> None:
        """Put a pass's rotated keys and values [B, T'*S, heads, head_dim] into their slots.

        *block* counts the stage's own blocks from 0. Kept keys are turned before, where the
        row's positions restart.
        """
        for t in plan.turns[block]:
            keys = self.k[block][t.kv_row, t.target : t.target + self.tokens]
            keys.copy_(turn(keys, t.shift))
        for w in plan.writes[block]:
            slots = slice(w.target, w.target + w.tokens)
            source = slice(w.source, w.source + w.tokens)
            self.k[block][w.kv_row, slots] = k[w.batch, source]
            self.v[block][w.kv_row, slots] = v[w.batch, source]

    def slots(self, plan: PassPlan) -> Tensor:
        """Where *plan* writes, int64 [blocks, B * T'] on the host: kv_row * window.frames + slot."""
        return torch.tensor(
            [
                [
                    w.kv_row * self.window.frames + (w.target + first) // self.tokens
                    for w in writes
                    for first in range(0, w.tokens, self.tokens)
                ]
                for writes in plan.writes
            ],
            dtype=torch.int64,
        )

    def scatter(self, block: int, slots: Tensor, k: Tensor, v: Tensor) -> None:
        """Like `write`, into the *slots* [B * T'] that stand on the device; nothing is turned."""
        for kept, new in ((self.k[block], k), (self.v[block], v)):
            frame = (-1, self.tokens, *kept.shape[2:])
            kept.view(frame).index_copy_(0, slots, new.reshape(frame))

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

    def clear(self) -> None:
        """Forget all of the stream, as before its first chunk, and leave the tensors where they lie."""
        for part in self.tensors:
            part.zero_()
        self.held = [[Slots.empty(self.window)] * self.kv_rows for _ in self.held]
        self.watch = SinkWatch(self.watch.join)

    def repeat_first_row(self) -> None:
        """Copy KV row 0 to all rows, as is done once the first chunk has been denoised."""
        for part in (*self.k, *self.v):
            part[1:] = part[:1]
        for books in self.held:
            books[1:] = books[:1] * (len(books) - 1)

    def enter_prompt(self, number: int, similarities: Mapping[int, float]) -> None:
        """Make the prompt *number* known, under which later rows come.

        *similarities* are the cosines of earlier prompts' embeddings with its own, by number.
        """
        self.likeness[number] = dict(similarities)

    def take(self, block: int) -> BlockState:
        """Remove *block*, counted from 0, and return all that belongs to it, on this device.

        Waits for a comparison of sinks under way.
        """
        k, v = self.k.pop(block), self.v.pop(block)
        return BlockState(k, v, tuple(self.held.pop(block)), self.watch.take(block))

    def put(self, block: int, state: BlockState) -> None:
        """Insert *state* so that it becomes the block number *block*, counted from 0."""
        self.k.insert(block, state.k)
        self.v.insert(block, state.v)
        self.watch.put(block, state.similarities)
        self.held.insert(block, list(state.held))

    def _place(self, rows: Sequence[PassRow], asked: Sequence[tuple[Slots, int | None]]) -> Placed:
        """Place *rows* into one block, given the book and the sink taken over of each."""
        placements = [
            place(
                held,
                Chunk(row.first_frame, row.frames, row.first_position, sink, row.prompt),
                self.window,
            )
            for row, (held, sink) in zip(rows, asked, strict=True)
        ]
        return placed_in_block(rows, placements, self.tokens)
