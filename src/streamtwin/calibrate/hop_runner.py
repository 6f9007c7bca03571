"""How is one hop performed between two ranks, in each situation that a ring knows?

Rank 1 receives and keeps the time; rank 0 does what rank 1 orders, one hop at a time. The time
of a hop begins when both sides are there and ends when the item has arrived, as the runtime's
records have it. Where receives are posted ahead there are two times: how long an item travels to
a receiver that waits, and what it costs a receiver that asks when it has long arrived.
"""

import time
from collections.abc import Sequence

import torch
import torch.distributed as dist

from streamtwin.calibrate.beside import AHEAD_LATE, AHEAD_TAGS, ahead_rows
from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_shapes, item_from
from streamtwin.calibrate.harness import Clock
from streamtwin.calibrate.seats import Seat
from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.core.ops import Hop
from streamtwin.core.ring import Item
from streamtwin.kernels.stage import Work
from streamtwin.runtime.overlap import AheadTransport
from streamtwin.runtime.transport import Transport

APART_S = 0.004
"""How much earlier the first side is there."""

COMPUTE_S = 0.006
"""How long a sender goes on computing: about as long as the slowest hop takes."""

STOP = -1

Load = tuple[Item, Work]


class HopEnd:
    """One rank's end of every hop that is timed; nothing is built while a clock runs."""

    def __init__(
        self,
        request: CalibrationRequest,
        seat: Seat,
        cases: Sequence[Case],
        clock: Clock,
    ) -> None:
        self.cases, self.seat = cases, seat
        self.order = {case: number for number, case in enumerate(cases)}
        self.transports: dict[int, Transport] = {}
        self.loads: dict[int, Load] = {}
        for size, (resolution, rows) in hop_shapes(request).items():
            plan = request.plan(seat.ranks, resolution)
            self.transports[size] = Transport(plan, seat.rank, clock, seat.dtype, seat.device)
            self.loads[size] = _load(self.transports[size], rows)
        self.ahead = _open_ahead(request, seat, clock)

    def time_s(self, case: Case, _clock: Clock) -> float:
        """Order and receive one item as *case* says; seconds by the transport's clock."""
        assert isinstance(case.op, Hop)
        self._order(self.order[case])
        if case.tag.startswith("sender waits"):
            time.sleep(APART_S)
        if case.tag == AHEAD_LATE:
            time.sleep(COMPUTE_S + APART_S)
        arrival = self._transport(case).receive()
        assert arrival is not None
        assert arrival.size_bytes == case.op.size_bytes
        # what had arrived before it was asked for costs nothing but the asking
        began_s = arrival.asked_s if case.tag == AHEAD_LATE else arrival.began_s
        return arrival.arrived_s - began_s

    def stop(self) -> None:
        """Tell the sender that no hop follows, and take in what receives are posted for."""
        self._order(STOP)
        for transport in self.ahead.values():
            assert transport.receive() is None

    def _order(self, number: int) -> None:
        dist.send(torch.tensor([number]), 0, group=self.seat.orders)

    def _transport(self, case: Case) -> Transport:
        assert isinstance(case.op, Hop)
        kind = self.ahead if case.tag in AHEAD_TAGS else self.transports
        return kind[case.op.size_bytes]

    def serve(self) -> None:
        """Send what rank 1 orders until it says stop."""
        order = torch.zeros(1, dtype=torch.int64)
        while True:
            dist.recv(order, 1, group=self.seat.orders)
            if order.item() == STOP:
                break
            self._send(self.cases[int(order.item())])
        for transport in self.ahead.values():
            transport.send(None, None)
            transport.drain()

    def _send(self, case: Case) -> None:
        assert isinstance(case.op, Hop)
        transport = self._transport(case)
        if case.tag.startswith("receiver waits"):
            _compute(APART_S, self.seat.device)
        transport.send(*self.loads[case.op.size_bytes])
        if case.tag.endswith("sender computes"):
            late = case.tag.startswith("sender waits")
            _compute(COMPUTE_S + APART_S * late, self.seat.device)
        transport.wait_sent()


def _open_ahead(request: CalibrationRequest, seat: Seat, clock: Clock) -> dict[int, Transport]:
    """Transports whose receives are posted, by size.

    Each has a group of its own, made by all ranks in one order: receives of one group are filled in
    the order in which they were posted. With NCCL the first message of a group opens its connection,
    for which both must be there.
    """
    opened: dict[int, Transport] = {}
    for size, rows in ahead_rows(request).items():
        plan, link = request.plan(seat.ranks, steps=rows), (0, 1)
        groups = {link: dist.new_group(list(link))}
        seat.greet(link, groups[link])
        opened[size] = AheadTransport(
            plan, seat.rank, clock, seat.dtype, seat.device, groups=groups
        )
        if seat.rank == 1:
            opened[size].begin()
    return opened


def _load(transport: Transport, rows: int) -> Load:
    """An item of *rows* rows with tensors of the plan's shapes."""
    plan = transport.plan
    model, size = plan.model, plan.scenario.size
    latents = plan.scenario.deployment.chunk_latents
    draw, place = torch.randn, (transport.device, transport.dtype)
    work = Work(
        latents=draw(rows, latents, model.latent_channels, *size.latent).to(*place),
        timesteps=STEP_TIMESTEPS[:rows],
        hidden=draw(rows, latents * size.tokens, model.dim).to(*place),
    )
    return item_from(plan, rows), work


def _compute(seconds: float, device: str = "cpu") -> None:
    """Keep this core, or card, busy with the kind of work that a stage does."""
    side = 128 if device == "cpu" else 2048
    matrix = torch.ones(side, side, device=device)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        torch.mm(matrix, matrix)
        if device != "cpu":
            torch.cuda.current_stream(device).synchronize()
