"""How does a stage run its part of a pass: launched kernel by kernel, or replayed from a recording?

The host works out what the pass touches; everything else stands in a few tensors, so the device's
part is a function of them that waits for nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from streamtwin.core.deployment import Deployment
from streamtwin.kernels.cache import PassRow, StageCache, TextCache
from streamtwin.kernels.compiled import compiled_parts
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.graphs import CudaRecord, RecordedPasses, Tensors
from streamtwin.kernels.rope import frame_positions
from streamtwin.kernels.shared_pass import enter, leave
from streamtwin.kernels.touched import Touched, touched
from streamtwin.kernels.upload import upload


class Passes:
    """The passes of *dit*.

    Attributes:
        recorded: recordings to replay; None where each kernel is launched by itself.
    """

    def __init__(self, dit: DiTStage, recorded: RecordedPasses | None = None) -> None:
        self.dit, self.recorded = dit, recorded

    def run(
        self,
        taken: Tensor,
        timesteps: Sequence[float],
        rows: Sequence[PassRow],
        caches: Sequence[StageCache],
        texts: Sequence[TextCache],
    ) -> Tensors:
        """Pass *taken* through the blocks, with a timestep, a cache and a prompt a row.

        Latents [B, T', C, h, w] on the first stage, tokens [B, T'*S, d] on others -> tokens and,
        on the last stage, the velocity [B, T', C, h, w].

        Raises:
            ValueError: rows do not fit their caches, or those of a session do not stand together.
        """
        touches = touched(rows, caches, texts)
        device, frames = taken.device, rows[0].frames
        inputs = (taken, _timesteps(timesteps, frames, device), frame_positions(rows, device))
        if self.recorded is None:
            return self.compute(touches, *inputs)
        if not touches.replayable:
            return self.recorded.launch(lambda: self.compute(touches, *inputs))

        def replayable(taken: Tensor, times: Tensor, positions: Tensor, slots: Tensor) -> Tensors:
            return self.compute(touches.reading(slots, frames), taken, times, positions)

        slots = upload(touches.slots(), device)
        return self.recorded.run(touches.key, touches.owners, replayable, (*inputs, slots))

    def compute(
        self, touches: Touched, taken: Tensor, timesteps: Tensor, positions: Tensor
    ) -> Tensors:
        """The device's part of a pass, a function of the tensors alone.

        *timesteps* and temporal *positions* are [B, T']; see `run` for the others.
        """
        dit = self.dit
        hidden = leave(dit, dit.advance(enter(dit, taken), timesteps, positions, touches))
        return (hidden, dit.unembed(hidden, timesteps)) if dit.head is not None else (hidden,)


def passes_of(dit: DiTStage, deployment: Deployment, device: torch.device) -> Passes:
    """The passes of *dit* in the way that *deployment* asks for.

    None is recorded on a CPU, and none that members share: whether messages between ranks may be
    recorded has not been tried on cards.

    Raises:
        UserError: the attention asked for is not there.
    """
    dit.choose_attention(deployment.attention)
    if deployment.compile:
        dit.parts = compiled_parts()
    records = deployment.cuda_graph and device.type == "cuda" and dit.sequence is None
    return Passes(dit, RecordedPasses(CudaRecord(device)) if records else None)


def _timesteps(timesteps: Sequence[float], frames: int, device: torch.device) -> Tensor:
    """Timesteps of a pass, float32 [B, T'], as kernel arguments: nothing copied or awaited."""
    return torch.stack([torch.full((frames,), float(t), device=device) for t in timesteps])
