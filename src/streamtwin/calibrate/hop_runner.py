"""How is one hop performed between two ranks, in each situation that a ring knows?

Rank 1 receives and keeps the time; rank 0 does what rank 1 orders, one hop at a time. The time
of a hop begins when both sides are there and ends when the item has arrived, as the runtime's
records have it.
"""

import time
from collections.abc import Sequence

import torch
import torch.distributed as dist

from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_shapes, item_from
from streamtwin.calibrate.harness import Clock
from streamtwin.core.ops import Hop
from streamtwin.core.ring import Item
from streamtwin.core.scenario import STEP_TIMESTEPS
from streamtwin.kernels.stage import Work
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
        ring: tuple[int, int],
        cases: Sequence[Case],
        clock: Clock,
    ) -> None:
        rank, ranks = ring
        self.cases = cases
        self.order = {case: number for number, case in enumerate(cases)}
        self.transports: dict[int, Transport] = {}
        self.loads: dict[int, Load] = {}
        for size, (resolution, rows) in hop_shapes(request).items():
            self.transports[size] = Transport(request.plan(ranks, resolution), rank, clock)
            self.loads[size] = _load(self.transports[size], rows)

    def time_s(self, case: Case, _clock: Clock) -> float:
        """Order and receive one item as *case* says; seconds by the transport's clock."""
        assert isinstance(case.op, Hop)
        dist.send(torch.tensor([self.order[case]]), 0)
        if case.tag.startswith("sender waits"):
            time.sleep(APART_S)
        arrival = self.transports[case.op.size_bytes].receive()
        assert arrival is not None
        assert arrival.size_bytes == case.op.size_bytes
        return arrival.arrived_s - arrival.began_s

    def stop(self) -> None:
        """Tell the sender that no hop follows."""
        dist.send(torch.tensor([STOP]), 0)

    def serve(self) -> None:
        """Send what rank 1 orders until it says stop."""
        order = torch.zeros(1, dtype=torch.int64)
        while True:
            dist.recv(order, 1)
            if order.item() == STOP:
                return
            self._send(self.cases[int(order.item())])

    def _send(self, case: Case) -> None:
        assert isinstance(case.op, Hop)
        transport = self.transports[case.op.size_bytes]
        if case.tag.startswith("receiver waits"):
            _compute(APART_S)
        transport.send(*self.loads[case.op.size_bytes])
        if case.tag.endswith("sender computes"):
            late = case.tag.startswith("sender waits")
            _compute(COMPUTE_S + APART_S * late)
        transport.wait_sent()


def _load(transport: Transport, rows: int) -> Load:
    """An item of *rows* rows with tensors of the plan's shapes."""
    plan = transport.plan
    model, size = plan.model, plan.scenario.size
    latents = plan.scenario.deployment.chunk_latents
    work = Work(
        latents=torch.randn(rows, latents, model.latent_channels, *size.latent),
        timesteps=STEP_TIMESTEPS[:rows],
        hidden=torch.randn(rows, latents * size.tokens, model.dim),
    )
    return item_from(plan, rows), work


def _compute(seconds: float) -> None:
    """Keep this core busy with the kind of work that a stage does."""
    matrix = torch.ones(128, 128)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        torch.mm(matrix, matrix)
