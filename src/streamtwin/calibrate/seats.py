"""Where does a rank of a calibration of transfers sit: on which device, in which groups?

Orders and instants go through a group of the host's own on every device, because a card's messages
are ordered by its streams, and a host that waits for an order should not hold them up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.runtime.processes import RankContext
from streamtwin.runtime.transport import connect, disconnect


@dataclass(frozen=True, slots=True)
class Seat:
    """One rank, its device and the type of what it exchanges; `orders` is the host's own group."""

    rank: int
    ranks: int
    device: str
    dtype: torch.dtype
    orders: dist.ProcessGroup | None

    def synchronize(self) -> None:
        """Let the host wait for what it has asked of a card."""
        if self.device != "cpu":
            torch.cuda.current_stream(self.device).synchronize()

    def tell(self, number: Tensor) -> Tensor:
        """Give all ranks the *number* that rank 0 has."""
        dist.broadcast(number, 0, group=self.orders)
        return number

    def compare(self, numbers: Sequence[float]) -> list[list[float]]:
        """The *numbers* of every rank, known to all."""
        own = torch.tensor(numbers, dtype=torch.float64)
        parts = [torch.empty_like(own) for _ in range(self.ranks)]
        dist.all_gather(parts, own, group=self.orders)
        return [part.tolist() for part in parts]

    def greet(self, link: tuple[int, int], group: dist.ProcessGroup) -> None:
        """Send a token over *link*, so that *group* is connected before anything is posted."""
        sender, receiver = link
        token = torch.zeros(1, device=self.device)
        if self.rank == sender:
            dist.send(token, receiver, group=group)
        elif self.rank == receiver:
            dist.recv(token, sender, group=group)
        self.synchronize()

    def leave(self) -> None:
        """Part from the others, once all are done."""
        dist.barrier(group=self.orders)
        disconnect()


def take_seat(context: RankContext, request: CalibrationRequest) -> Seat:
    """Join the ranks of a calibration: over Gloo on a CPU, over NCCL on a card each."""
    rank, ranks = context.rank, context.ranks
    cpu = request.device == "cpu"
    device = "cpu" if cpu else f"cuda:{rank}"
    connect(rank, ranks, context.rendezvous, "gloo" if cpu else "nccl", device)
    orders = dist.new_group(list(range(ranks)), backend="gloo")
    return Seat(rank, ranks, device, torch.float32 if cpu else torch.bfloat16, orders)
