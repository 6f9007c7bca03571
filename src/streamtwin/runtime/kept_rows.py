"""What does rank 0 keep of rows between two turns of their lane?"""

import torch
from torch import Tensor

from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.work import Work


class KeptRows:
    """Latents [T', C, h, w] and timestep of each row that goes on, by session and chunk."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], tuple[Tensor, int]] = {}

    def enter(self, row: Row, latents: Tensor, timestep: int) -> None:
        """Keep what a chunk begins with."""
        self._rows[row.session, row.chunk] = latents, timestep

    def keep(self, item: Item, work: Work, steps: int) -> None:
        """Keep the rows of *item* that go on, of *steps* steps, for the next turn of their lane."""
        for position, row in enumerate(item.rows):
            if row.step + 1 < steps:
                self.enter(row, work.latents[position], STEP_TIMESTEPS[row.step + 1])

    def assembled(self, item: Item) -> Work:
        """Join what was kept of the rows of *item*, and keep it no longer."""
        latents, timesteps = zip(
            *(self._rows.pop((row.session, row.chunk)) for row in item.rows), strict=True
        )
        return Work(torch.stack(latents), timesteps)
