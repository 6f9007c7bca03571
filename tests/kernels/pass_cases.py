"""What the tests of a whole stage pass share: a stage of a tiny plan, and its stream of items."""

from typing import Any

import torch

from builders import make_plan
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item
from streamtwin.kernels.graphs import RecordedPasses
from streamtwin.kernels.stage import SessionState, StageKernels, Work

TIMESTEPS = (700, 500, 400, 200)


def small_plan(**changes: Any) -> Plan:
    return make_plan(**({"resolution": [32, 48], "steps": 2, "chunks": 40} | changes))


def some_work(plan: Plan, item: Item, seed: int = 0) -> Work:
    draw = torch.Generator().manual_seed(1000 * seed + item.index)
    rows, model, size = len(item.rows), plan.model, plan.scenario.size
    latents = plan.scenario.shape.latents_of(item.rows[0].ordinal)
    return Work(
        torch.randn(rows, latents, model.latent_channels, *size.latent, generator=draw),
        tuple(TIMESTEPS[row.step] for row in item.rows),
        torch.randn(rows, latents * size.tokens, model.dim, generator=draw),
    )


class HostRecord:
    """Records as a card does: what is recorded has not run, and each replay fills the same memory."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, compute):
        self.recorded += 1
        outputs = compute()
        for output in outputs:
            output.fill_(float("nan"))

        def replay() -> None:
            for output, value in zip(outputs, compute(), strict=True):
                output.copy_(value)

        return replay, outputs


def stage(plan: Plan, place: str = "alone") -> StageKernels:
    ends = {
        "alone": (True, True),
        "first": (True, False),
        "middle": (False, False),
        "last": (False, True),
    }
    return StageKernels(plan, Stage(0, range(2), *ends[place] * 2))


def recording(kernels: StageKernels, limit: int = 64) -> HostRecord:
    """Let *kernels* record its passes on the host."""
    record = HostRecord()
    kernels.passes.recorded = RecordedPasses(record, limit)
    return record


def begin(kernels: StageKernels, sessions: int = 1) -> dict[int, SessionState]:
    return {session: kernels.new_session(session) for session in range(sessions)}
