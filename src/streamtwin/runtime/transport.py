"""How does an item travel from a rank to the next?

An item is three messages: a header of fixed size, the hidden state, the latents of its rows.
Sending is asynchronous; receiving blocks and is not posted ahead, as in the reference protocol,
so that a hop is paid for by the rank that waits for it. What a link does not carry is left out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store  # type: ignore[attr-defined]

from streamtwin.core.edges import Edge
from streamtwin.core.plan import HEADER_BYTES, Plan
from streamtwin.core.ring import Item
from streamtwin.core.slip import NOTHING, Slip
from streamtwin.kernels.stage import Work
from streamtwin.runtime.header import HEADER_LENGTH, pack, unpack
from streamtwin.runtime.slips import SLIP_LENGTH, slip_from


@dataclass(frozen=True, slots=True)
class Arrival:
    """An item as it arrived. Instants are seconds on the run's clock.

    `sent_s` is when the sender posted it, `asked_s` when the receiver asked for it, `posted_s`
    when its receive was posted ahead of that, or None.
    """

    item: Item
    work: Work
    sent_s: float
    asked_s: float
    arrived_s: float
    size_bytes: int
    posted_s: float | None = None
    slip: Slip = NOTHING

    @property
    def began_s(self) -> float:
        """When the transfer could begin: sender and receiver both there.

        Two hosts' clocks agree to a fraction of a millisecond only, so the sender's instant may
        read as later than the arrival.
        """
        ready_s = self.asked_s if self.posted_s is None else self.posted_s
        return min(max(self.sent_s, ready_s), self.arrived_s)


Groups = Mapping[tuple[int, int], dist.ProcessGroup]
"""The process group of each link, by sender and receiver, where links have their own."""


def connect(
    rank: int,
    ranks: int,
    rendezvous: str,
    backend: str = "gloo",
    device: str = "cpu",
    edges: Sequence[Edge] | None = None,
    *,
    apart: bool = False,
    store: Store | None = None,
    timeout: timedelta | None = None,
) -> Groups:
    """Join the process group through *store*, or else *rendezvous*, a file that all can reach.

    Each rank then exchanges one small message over each of its *edges* (None: those of a ring),
    so that connections exist before anything is timed. The message lies on *device*: NCCL moves
    nothing else. *apart*: each link gets a group of its own, which is returned. With NCCL the two
    directions between two ranks share a queue otherwise, and a receive that is posted ahead would
    hold up the message that its sender waits for. *timeout*: how long a message may be open, if not
    as long as the backend says.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)  # NCCL takes the current card, which is card 0 in all ranks
    method = None if store is not None else f"file://{rendezvous}"
    if store is not None and timeout is not None:
        store.set_timeout(timeout)  # the first message of two ranks is arranged through it
    dist.init_process_group(backend, method, timeout, rank=rank, world_size=ranks, store=store)
    if edges is None:
        links = [(r, (r + 1) % ranks) for r in range(ranks)] if ranks > 1 else []
    else:
        links = [(edge.sender, edge.receiver) for edge in edges]
    groups = {link: dist.new_group(sorted(link), timeout) for link in links} if apart else {}
    if links:
        _greet(rank, links, groups, device)
    return groups


def _greet(rank: int, links: Sequence[tuple[int, int]], groups: Groups, device: str) -> None:
    """Pass a token over every link of this rank.

    All ranks take the links in one order. With NCCL a message leaves when its receiver is there,
    and two ranks share one queue for both directions: if both sent first, neither would receive.
    """
    token = torch.zeros(1, device=device)
    for sender, receiver in links:
        group = groups.get((sender, receiver))
        if rank == sender:
            dist.send(token, receiver, group)
        if rank == receiver:
            dist.recv(torch.zeros_like(token), sender, group)
    if token.is_cuda:
        torch.cuda.synchronize(token.device)


def disconnect() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


class Transport:
    """One rank's ends of links: it receives from the rank before, and sends on *edge*.

    None: on the first of its links, if it has any.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        clock: Callable[[], float] = time.monotonic,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        edge: Edge | None = None,
        groups: Groups | None = None,
    ) -> None:
        self.plan, self.rank, self.clock = plan, rank, clock
        self.dtype, self.device = dtype, torch.device(device)
        self.edge = edge or next(iter(plan.outward(rank)), None)
        self.inward = plan.inward(rank)
        self.groups = groups or {}
        self._sending: list[list[tuple[dist.Work, Tensor]]] = []

    def begin(self) -> None:
        """Get ready for the stream; nothing is posted ahead."""

    def wait_sent(self) -> None:
        """Wait until there is room for an item: the next rank has taken the one that fills it.

        With NCCL, waiting for a handle only orders the device's own work behind the message and
        returns at once. The host must know: it notes how long it waited, and then lets go of the
        tensors.
        """
        if self.edge is not None and len(self._sending) >= self.edge.depth:
            self._taken()

    def drain(self) -> None:
        """Wait until the next rank has taken everything."""
        while self._sending:
            self._taken()

    def _taken(self) -> None:
        for handle, _ in self._sending.pop(0):
            handle.wait()
        self._synchronize()

    def send(self, item: Item | None, work: Work | None, slip: Slip = NOTHING) -> None:
        """Post *item* to the next rank and go on; None says that nothing follows."""
        edge = self.edge
        assert edge is not None
        assert len(self._sending) < edge.depth, "there is no room for another item"
        parts = [pack(item, work, self.clock(), slip).to(self.device)]
        if work is not None:
            if edge.activations:
                assert work.hidden is not None
                parts.append(work.hidden.contiguous())
            parts.append(work.latents.contiguous())
        sending = []
        for part in parts:
            handle = dist.isend(part, edge.receiver, self._group(edge))
            assert handle is not None
            # the tensor is kept with its handle: it must live until the message has left
            sending.append((handle, part))
        self._sending.append(sending)

    def receive(self) -> Arrival | None:
        """Wait for the next item from the rank before; None when nothing follows."""
        edge = self.inward
        assert edge is not None
        asked_s = self.clock()
        header = torch.empty(HEADER_LENGTH, dtype=torch.int64, device=self.device)
        dist.recv(header, edge.sender, self._group(edge))
        numbers = header.tolist()
        item, timesteps, latents, sent_s = unpack(numbers)
        if item is None:
            return None
        work = self._receive_work(edge, len(item.rows), latents, timesteps)
        size_bytes = HEADER_BYTES + _nbytes(work)
        slip = slip_from(numbers[-SLIP_LENGTH:])
        return Arrival(item, work, sent_s, asked_s, self.clock(), size_bytes, slip=slip)

    def _receive_work(
        self, edge: Edge, rows: int, latents: int, timesteps: tuple[int, ...]
    ) -> Work:
        model, size = self.plan.model, self.plan.scenario.size
        hidden = None
        if edge.activations:
            hidden = self._empty(rows, latents * size.tokens, model.dim)
            dist.recv(hidden, edge.sender, self._group(edge))
        states = self._empty(rows, latents, model.latent_channels, *size.latent)
        dist.recv(states, edge.sender, self._group(edge))
        self._synchronize()  # the instant of arrival is read next
        return Work(states, timesteps, hidden)

    def _group(self, edge: Edge) -> dist.ProcessGroup | None:
        return self.groups.get((edge.sender, edge.receiver))

    def _synchronize(self) -> None:
        """Let the host wait for what it has asked of a card; on a CPU calls wait themselves.

        It waits for its own stream, which waits for the handles: other messages stay open.
        """
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.device)


def _nbytes(work: Work) -> int:
    return work.latents.nbytes + (0 if work.hidden is None else work.hidden.nbytes)
