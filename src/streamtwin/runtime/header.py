"""What does the header of an item say, and in which integers?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from streamtwin.core.deployment import MAX_ROWS
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.core.ring import Item, Row
from streamtwin.core.slip import NOTHING, Slip
from streamtwin.kernels.stage import Work
from streamtwin.runtime.slips import SLIP_LENGTH, slip_numbers

HEADER_LENGTH = HEADER_BYTES // 8
END = -(2**62)
"""Item index that says that nothing follows."""

ROW_FIELDS = 6


def pack(item: Item | None, work: Work | None, sent_s: float, slip: Slip = NOTHING) -> Tensor:
    """Header of an item: index, instant, counts, then six numbers a row; None says the end.

    The slip stands at the end of the header.
    """
    header = torch.zeros(HEADER_LENGTH, dtype=torch.int64)
    values = [END, round(sent_s * 1e9), 0, 0]
    if item is not None and work is not None:
        assert len(item.rows) <= MAX_ROWS, f"{len(item.rows)} rows do not fit a header"
        leaving = set(item.leaving)
        values = [item.index, round(sent_s * 1e9), len(item.rows), work.latents.shape[1]]
        for row, timestep in zip(item.rows, work.timesteps, strict=True):
            leaves = row.session in leaving
            values += [row.session, row.chunk, row.ordinal, row.step, timestep, leaves]
    header[: len(values)] = torch.tensor(values)
    header[-SLIP_LENGTH:] = torch.tensor(slip_numbers(slip))
    return header


def unpack(header: Sequence[int]) -> tuple[Item | None, tuple[int, ...], int, float]:
    """Item (None at the end), timesteps, T', and the sender's instant in seconds."""
    index, sent_ns, count, latents = header[:4]
    if index == END:
        return None, (), 0, sent_ns * 1e-9
    fields = [header[4 + ROW_FIELDS * i : 4 + ROW_FIELDS * (i + 1)] for i in range(count)]
    rows = tuple(Row(*row[:4]) for row in fields)
    leaving = tuple(sorted({row[0] for row in fields if row[5]}))
    return Item(index, rows, leaving), tuple(row[4] for row in fields), latents, sent_ns * 1e-9
