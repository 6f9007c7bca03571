"""How is one hop performed between two ranks, in each situation that a ring knows?

Rank 1 receives and keeps the time; rank 0 does what rank 1 orders, one hop at a time. The time
of a hop begins when both sides are there and ends when the item has arrived, as the runtime's
records have it.
"""

import time
from collections.abc import Sequence

import torch
import torch.distributed as dist

from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_shapes
from streamtwin.calibrate.harness import Clock
from streamtwin.core.ops import Hop
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario import STEP_TIMESTEPS
from streamtwin.kernels.stage import Work
from streamtwin.runtime.transport import Transport

APART_S = 0.002
"""How much earlier the first side is there."""

COMPUTE_S = 0.008
"""How long a sender goes on computing; longer than a hop takes."""

STOP = -1


class HopReceiver:
    """Rank 1's side: orders hops and times them."""

    def __init__(self, request: CalibrationRequest, ranks: int, cases: Sequence[Case]) -> None:
        self.request, self.ranks = request, ranks
        self.order = {case: number for number, case in enumerate(cases)}

    def time_s(self, case: Case, clock: Clock) -> float:
        """Receive one item as *case* says; seconds by *clock*, which both ranks share."""
        assert isinstance(case.op, Hop)
        transport = _transport(self.request, self.ranks, 1, case.op, clock)
        dist.send(torch.tensor([self.order[case]]), 0)
        if case.tag.startswith("sender waits"):
            time.sleep(2 * APART_S)
        arrival = transport.receive()
        assert arrival is not None
        assert arrival.size_bytes == case.op.size_bytes
        return arrival.arrived_s - arrival.began_s

    def stop(self) -> None:
        """Tell the sender that no hop follows."""
        dist.send(torch.tensor([STOP]), 0)


def serve_hops(
    request: CalibrationRequest, ranks: int, cases: Sequence[Case], clock: Clock
) -> None:
    """Rank 0's side: send what rank 1 orders until it says stop."""
    order = torch.zeros(1, dtype=torch.int64)
    while True:
        dist.recv(order, 1)
        if order.item() == STOP:
            return
        _send(request, ranks, cases[int(order.item())], clock)


def _send(request: CalibrationRequest, ranks: int, case: Case, clock: Clock) -> None:
    assert isinstance(case.op, Hop)
    transport = _transport(request, ranks, 0, case.op, clock)
    item, work = _load(transport, hop_shapes(request)[case.op.size_bytes][1])
    if case.tag.startswith("receiver waits"):
        _compute(2 * APART_S)
    transport.send(item, work)
    if case.tag.endswith("sender computes"):
        _compute(2 * APART_S + COMPUTE_S)
    transport.wait_sent()


def _transport(
    request: CalibrationRequest, ranks: int, rank: int, op: Hop, clock: Clock
) -> Transport:
    """The rank's end of a ring whose items have the resolution that makes them as large as *op*."""
    resolution, _ = hop_shapes(request)[op.size_bytes]
    return Transport(request.plan(ranks, resolution), rank, clock)


def _load(transport: Transport, rows: int) -> tuple[Item, Work]:
    """An item of *rows* rows with tensors of the plan's shapes."""
    plan = transport.plan
    model, size = plan.model, plan.scenario.size
    late = 2 * plan.scenario.attention_window.frames
    item = Item(late, tuple(Row(0, late, late, step) for step in range(rows)))
    work = Work(
        latents=torch.randn(rows, 1, model.latent_channels, *size.latent),
        timesteps=STEP_TIMESTEPS[:rows],
        hidden=torch.randn(rows, size.tokens, model.dim),
    )
    return item, work


def _compute(seconds: float) -> None:
    """Keep this core busy with the kind of work that a stage does."""
    matrix = torch.ones(128, 128)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        torch.mm(matrix, matrix)
