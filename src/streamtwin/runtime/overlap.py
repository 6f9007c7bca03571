"""How does an item travel while its receiver computes?

Each rank has the receive of its next item posted while it computes the current one, into the
other of two buffers. Its length is not known then, so an item is one message of the size of the
fullest: header, hidden state, latents. Announcing the length first would not do: the receive of
the rest would have to be posted in the middle of a pass, and no thread may do that where messages
are ordered by a card's streams.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from streamtwin.core.edges import Edge
from streamtwin.core.plan import HEADER_BYTES, Plan
from streamtwin.core.ring import Item
from streamtwin.kernels.stage import Work
from streamtwin.runtime.order import Buffer, Order, order_of
from streamtwin.runtime.transport import Arrival, Groups, Transport, pack, unpack


class AheadTransport(Transport):
    """A transport whose receives are posted ahead. `begin` posts the first one."""

    def __init__(
        self,
        plan: Plan,
        rank: int,
        clock: Callable[[], float],
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        edge: Edge | None = None,
        groups: Groups | None = None,
        order: Order | None = None,
    ) -> None:
        super().__init__(plan, rank, clock, dtype, device, edge, groups)
        self.order = order_of(self.device) if order is None else order
        own = self.edge
        self._outgoing = [] if own is None else [self._buffer(own) for _ in range(own.depth)]
        self._incoming: list[Buffer] = []
        self._posted_s = 0.0

    def begin(self) -> None:
        """Post the first receive; the stream has not started then, so it is there at 0 s."""
        if self.inward is not None:
            self._incoming = [self._buffer(self.inward) for _ in (0, 1)]
            self._post()
            self._posted_s = 0.0

    def wait_sent(self) -> None:
        """Wait until a buffer is free: what was sent from it lies in one of the next rank's."""
        self.order.wait(self._outgoing[0])

    def drain(self) -> None:
        """Wait until all that was sent lies in the next rank's buffers."""
        for buffer in self._outgoing:
            self.order.wait(buffer)

    def send(self, item: Item | None, work: Work | None) -> None:
        """Copy *item* into a buffer and post it; None says that nothing follows."""
        buffer, edge = self._outgoing.pop(0), self.edge
        self._outgoing.append(buffer)
        assert edge is not None
        self.order.fill(buffer)
        header, hidden, latents = self._parts(buffer, edge)
        header.copy_(pack(item, work, self.clock()))
        if work is not None:
            if edge.activations:
                assert work.hidden is not None
                hidden[: work.hidden.numel()] = work.hidden.flatten()
            latents[: work.latents.numel()] = work.latents.flatten()
        group = self._group(edge)
        self.order.send(buffer, lambda: _posted(dist.isend(buffer.memory, edge.receiver, group)))

    def receive(self) -> Arrival | None:
        """Wait for the next item, then post the receive of the one after it."""
        assert self.inward is not None
        asked_s, posted_s, buffer = self.clock(), self._posted_s, self._incoming[0]
        self.order.wait(buffer)
        header, hidden, latents = self._parts(buffer, self.inward)
        item, timesteps, frames, sent_s = unpack(header.tolist())
        if item is None:
            return None
        work = self._work(hidden, latents, (len(item.rows), frames), timesteps)
        arrived_s = self.clock()
        self._incoming.reverse()
        self._post()
        size_bytes = buffer.memory.nbytes
        return Arrival(item, work, sent_s, asked_s, arrived_s, size_bytes, posted_s)

    def _post(self) -> None:
        """Post a receive into the buffer whose item is done with."""
        assert self.inward is not None
        buffer, sender, group = self._incoming[0], self.inward.sender, self._group(self.inward)
        self.order.receive(buffer, lambda: _posted(dist.irecv(buffer.memory, sender, group)))
        self._posted_s = self.clock()

    def _work(
        self, hidden: Tensor, latents: Tensor, shape: tuple[int, int], timesteps: tuple[int, ...]
    ) -> Work:
        """Tensors of an item of *shape* rows and latent frames, the hidden state in place.

        Latents are copied: a rank keeps them for longer than the buffer is its own.
        """
        assert self.inward is not None
        (rows, frames), model, size = shape, self.plan.model, self.plan.scenario.size
        states = (rows, frames, model.latent_channels, *size.latent)
        own = latents[: torch.Size(states).numel()].view(states).clone()
        if not self.inward.activations:
            return Work(own, timesteps)
        tokens = (rows, frames * size.tokens, model.dim)
        return Work(own, timesteps, hidden[: torch.Size(tokens).numel()].view(tokens))

    def _buffer(self, edge: Edge) -> Buffer:
        frames = self.plan.fullest_frames(edge)
        per_frame = sum(self._frame_numbers(edge))
        size = HEADER_BYTES + frames * per_frame * self.dtype.itemsize
        return Buffer(torch.zeros(size, dtype=torch.uint8, device=self.device))

    def _parts(self, buffer: Buffer, edge: Edge) -> tuple[Tensor, Tensor, Tensor]:
        """Header, hidden state and latents of a message, as flat views."""
        hidden, _ = self._frame_numbers(edge)
        body = buffer.memory[HEADER_BYTES:].view(self.dtype)
        split = self.plan.fullest_frames(edge) * hidden
        return buffer.memory[:HEADER_BYTES].view(torch.int64), body[:split], body[split:]

    def _frame_numbers(self, edge: Edge) -> tuple[int, int]:
        """How many numbers of hidden state and of latents a latent frame has on *edge*."""
        model, size = self.plan.model, self.plan.scenario.size
        hidden = size.tokens * model.dim * edge.activations
        return hidden, model.latent_channels * size.latent[0] * size.latent[1]


def _posted(handle: dist.Work | None) -> dist.Work:
    assert handle is not None
    return handle
