"""A host that is all invented: known costs, a replayed clock, and starts that can be broken off."""

import random
from dataclasses import replace

from calibration_data import HOPS, LINEAR, true_s

from streamtwin.calibrate.beside import BESIDE
from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.calibrate.expected import card_ceilings, core_ceilings
from streamtwin.calibrate.grid import Grid
from streamtwin.calibrate.harness import measure
from streamtwin.core import catalog
from streamtwin.core.ops import Collective, DitPass, Hop, Migration

CORE = core_ceilings(1e11, "invented")
CARD = card_ceilings(catalog.gpu("h100-sxm"))
TINY = Grid((CalibrationRequest(resolution=(32, 48)),))
TWO_SIZES = Grid(tuple(CalibrationRequest(resolution=size) for size in ((32, 48), (64, 64))))


def cost_s(case):
    if isinstance(case.op, DitPass):
        return true_s(case, "linear", LINEAR)
    if isinstance(case.op, Hop) and case.tag not in BESIDE:
        return true_s(case, "hop_linear", HOPS)
    if isinstance(case.op, Hop | Collective | Migration):
        return 1e-3 + 1e-9 * case.op.size_bytes
    return 1e-8 * case.op.height * case.op.width * case.op.latents


class BrokenError(Exception):
    """Whatever ends a calibration half-way."""


class Host:
    """Performs starts on a clock of its own; the harness that takes the times is the real one.

    `factor(case)` makes operations slower, `breaks_after` times the host breaks down, `start_s`
    is what a start takes.
    """

    def __init__(
        self, factor=lambda case: 1.0, breaks_after=10**9, spread=0.01, start_s=0.5, seed=0
    ):
        self.now_s, self.factor, self.left = 0.0, factor, breaks_after
        self.spread, self.start_s = spread, start_s
        self.draw = random.Random(seed)
        self.starts, self.timed = [], []

    def clock(self):
        return self.now_s

    def time_s(self, case, clock):
        self.left -= 1
        if self.left < 0:
            raise BrokenError
        seconds = cost_s(case) * self.factor(case) * (1 + self.draw.uniform(-1, 1) * self.spread)
        self.now_s += seconds
        self.timed.append(case)
        return seconds

    def launch(self, start, budget_s, hear):
        self.starts.append(start)
        began_s = self.now_s
        self.now_s += self.start_s
        ranks = start.part.ranks if start.part.kind == "kernels" else 1
        return [
            measure(
                start.cases, self, self.clock, (budget_s - self.now_s + began_s) / ranks,
                on_round=hear, rank=rank, seed=rank,
            )
            for rank in range(ranks)
        ]  # fmt: skip


def on(host, settings):
    return replace(settings, launch=host.launch, clock=host.clock, ceilings=CORE)
