"""How does an item travel from a rank to the next?

An item is three messages: a header of fixed size, the hidden state, the latents of its rows.
Sending is asynchronous; receiving blocks and is not posted ahead, as in the reference protocol,
so that a hop is paid for by the rank that waits for it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store  # type: ignore[attr-defined]

from streamtwin.core.plan import HEADER_BYTES, Plan
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario import MAX_ROWS
from streamtwin.kernels.stage import Work

HEADER_LENGTH = HEADER_BYTES // 8
END = -(2**62)
"""Item index that says that nothing follows."""

ROW_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Arrival:
    """An item as it arrived. Instants are seconds on the run's clock.

    `sent_s` is when the sender posted it, `asked_s` when the receiver asked for it.
    """

    item: Item
    work: Work
    sent_s: float
    asked_s: float
    arrived_s: float
    size_bytes: int

    @property
    def began_s(self) -> float:
        """When the transfer could begin: sender and receiver both there.

        Two hosts' clocks agree to a fraction of a millisecond only, so the sender's instant may
        read as later than the arrival.
        """
        return min(max(self.sent_s, self.asked_s), self.arrived_s)


def connect(
    rank: int,
    ranks: int,
    rendezvous: str,
    backend: str = "gloo",
    device: str = "cpu",
    store: Store | None = None,
    stride: int = 1,
) -> None:
    """Join the process group through *store*, or else *rendezvous*, a file that all can reach.

    Each rank then exchanges one small message with its neighbours, so that connections exist
    before anything is timed. The message lies on *device*: NCCL moves nothing else. Neighbours
    are *stride* ranks apart, as the leaders of stages with several members are.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)  # NCCL takes the current card, which is card 0 in all ranks
    method = None if store is not None else f"file://{rendezvous}"
    dist.init_process_group(backend, init_method=method, rank=rank, world_size=ranks, store=store)
    if ranks > stride:
        _greet(rank, ranks, device, stride)


def _greet(rank: int, ranks: int, device: str, stride: int) -> None:
    """Send a token to the next rank and take one from the rank before.

    Every second rank sends first, the others receive first. With NCCL a message leaves when its
    receiver is there, and two ranks share one queue for both directions: if both sent first,
    neither would ever receive.
    """
    token = torch.zeros(1, device=device)
    sends_first = rank // stride % 2 == 0
    if sends_first:
        dist.send(token, (rank + stride) % ranks)
    dist.recv(torch.zeros_like(token), (rank - stride) % ranks)
    if not sends_first:
        dist.send(token, (rank + stride) % ranks)
    if token.is_cuda:
        torch.cuda.synchronize(token.device)


def disconnect() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def pack(item: Item | None, work: Work | None, sent_s: float) -> Tensor:
    """Header of an item: index, instant, counts, then six numbers a row; None says the end."""
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


class Transport:
    """One rank's two ends of the ring: it receives from the rank before, sends to the next.

    Where stages have several members, these ranks are their leaders.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        clock: Callable[[], float] = time.monotonic,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.plan, self.rank, self.clock = plan, rank, clock
        self.dtype, self.device = dtype, torch.device(device)
        self.next = (rank + plan.members) % plan.ranks
        self.before = (rank - plan.members) % plan.ranks
        self._sending: list[tuple[dist.Work, Tensor]] = []

    def wait_sent(self) -> None:
        """Wait until the next rank has taken what was sent last.

        With NCCL, waiting for a handle only orders the device's own work behind the message and
        returns at once. The host must know: it notes how long it waited, and then lets go of the
        tensors.
        """
        if not self._sending:
            return
        for handle, _ in self._sending:
            handle.wait()
        self._synchronize()
        self._sending.clear()

    def send(self, item: Item | None, work: Work | None) -> None:
        """Post *item* to the next rank and go on; None says that nothing follows."""
        assert not self._sending, "the previous item has not been taken"
        parts = [pack(item, work, self.clock()).to(self.device)]
        if work is not None:
            assert work.hidden is not None
            parts += [work.hidden.contiguous(), work.latents.contiguous()]
        for part in parts:
            handle = dist.isend(part, self.next)
            assert handle is not None
            # the tensor is kept with its handle: it must live until the message has left
            self._sending.append((handle, part))

    def receive(self) -> Arrival | None:
        """Wait for the next item from the rank before; None when nothing follows."""
        asked_s = self.clock()
        header = torch.empty(HEADER_LENGTH, dtype=torch.int64, device=self.device)
        dist.recv(header, self.before)
        item, timesteps, latents, sent_s = unpack(header.tolist())
        if item is None:
            return None
        work = self._receive_work(len(item.rows), latents, timesteps)
        size_bytes = HEADER_BYTES + _nbytes(work)
        return Arrival(item, work, sent_s, asked_s, self.clock(), size_bytes)

    def _receive_work(self, rows: int, latents: int, timesteps: tuple[int, ...]) -> Work:
        model, size = self.plan.model, self.plan.scenario.size
        hidden = self._empty(rows, latents * size.tokens, model.dim)
        states = self._empty(rows, latents, model.latent_channels, *size.latent)
        dist.recv(hidden, self.before)
        dist.recv(states, self.before)
        self._synchronize()  # the instant of arrival is read next
        return Work(states, timesteps, hidden)

    def _synchronize(self) -> None:
        """Let the host wait for what it has asked of a card; on a CPU calls wait themselves."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.device)


def _nbytes(work: Work) -> int:
    return work.latents.nbytes + (0 if work.hidden is None else work.hidden.nbytes)
