"""What does a pass do with one row of its batch, and what does that touch in the cache?"""

from dataclasses import dataclass


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


def runs(slots: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(first frame within the chunk, first slot, frames) of each contiguous run of slots."""
    found: list[tuple[int, int, int]] = []
    for offset, slot in enumerate(slots):
        if found and found[-1][1] + found[-1][2] == slot:
            start, first, count = found[-1]
            found[-1] = (start, first, count + 1)
        else:
            found.append((offset, slot, 1))
    return found
