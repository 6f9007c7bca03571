"""What does a pass do with one row of its batch, and what does that touch in the cache?"""

from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.slots import Placement, Slots
from streamtwin.core.window import Window


@dataclass(frozen=True, slots=True)
class PassRow:
    """One row of a batched pass.

    Attributes:
        kv_row: KV row of the session, which is its denoising step.
        first_frame: absolute latent frame index of the chunk's first frame.
        frames: T', latent frames in the chunk.
        position: temporal RoPE position of the first frame, when it is not its index.
        sinks: for each block of the stage the slot of a sink that the first frame takes over, or
            None; empty when no sink is refreshed.
        prompt: number of the prompt that the chunk is denoised under.
    """

    kv_row: int
    first_frame: int
    frames: int
    position: int | None = None
    sinks: tuple[int | None, ...] = ()
    prompt: int = 0

    @property
    def first_position(self) -> int:
        """Temporal RoPE position of the first frame."""
        return self.first_frame if self.position is None else self.position

    def sink(self, block: int) -> int | None:
        """Slot of the sink that the first frame takes over in *block*, counted from 0."""
        return self.sinks[block] if self.sinks else None


@dataclass(frozen=True, slots=True)
class Write:
    """One contiguous copy: *tokens* tokens of batch row *batch* into slots of *kv_row*."""

    batch: int
    kv_row: int
    source: int
    target: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The keys of one slot of *kv_row*, from token *target* on, move by *shift* positions."""

    kv_row: int
    target: int
    shift: int


@dataclass(frozen=True, slots=True)
class PassPlan:
    """What a pass turns, writes and attends, in tokens.

    Turns and writes differ between blocks once their sinks do; what is attended never does.
    """

    turns: tuple[tuple[Turn, ...], ...]
    writes: tuple[tuple[Write, ...], ...]
    kv_rows: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def uniform(self) -> bool:
        """Whether all rows attend equally many tokens, so that one attention call serves them."""
        return len(set(self.lengths)) == 1


@dataclass(frozen=True, slots=True)
class Placed:
    """What a pass turns and writes in one block, and the book of each row afterwards."""

    turns: tuple[Turn, ...]
    writes: tuple[Write, ...]
    after: tuple[Slots, ...]


def placed_in_block(
    rows: Sequence[PassRow], placements: Sequence[Placement], tokens: int
) -> Placed:
    """Turn the slots of *placements*, one a row, into copies of *tokens* a frame."""
    turns = tuple(
        Turn(row.kv_row, slot * tokens, shift)
        for row, placement in zip(rows, placements, strict=True)
        for slot, shift in placement.turns
    )
    writes = tuple(
        Write(batch, row.kv_row, start * tokens, slot * tokens, count * tokens)
        for batch, (row, placement) in enumerate(zip(rows, placements, strict=True))
        for start, slot, count in _runs(placement.slots)
    )
    return Placed(turns, writes, tuple(placement.after for placement in placements))


def check_rows(rows: Sequence[PassRow], kv_rows: int, window: Window) -> None:
    """Refuse rows that no pass can have.

    Raises:
        ValueError: a KV row is out of range or named twice, or a chunk exceeds the window.
    """
    if not rows:
        raise ValueError("a pass needs at least one row")
    if len({row.kv_row for row in rows}) < len(rows):
        raise ValueError(f"rows share a KV row: {[row.kv_row for row in rows]}; give each its own")
    for row in rows:
        if not 0 <= row.kv_row < kv_rows:
            raise ValueError(f"kv_row = {row.kv_row}: choose one of 0..{kv_rows - 1}")
        if row.frames < 1 or row.first_frame < 0:
            raise ValueError(f"{row}: frames must be >= 1 and first_frame >= 0")
        frames = range(row.first_frame, row.first_frame + row.frames)
        if len({window.slot(frame) for frame in frames}) < row.frames:
            raise ValueError(
                f"{row.frames} frames from frame {row.first_frame} on do not fit the window: "
                f"{window.frames} frames, of which {window.sink} are sinks"
            )


def _runs(slots: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(first frame within the chunk, first slot, frames) of each contiguous run of slots."""
    found: list[tuple[int, int, int]] = []
    for offset, slot in enumerate(slots):
        if found and found[-1][1] + found[-1][2] == slot:
            start, first, count = found[-1]
            found[-1] = (start, first, count + 1)
        else:
            found.append((offset, slot, 1))
    return found
