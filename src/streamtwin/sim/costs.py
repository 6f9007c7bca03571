"""Which operation is a service, and how long does it take? Looked up once for services that are alike."""

from collections.abc import Callable
from dataclasses import dataclass

from streamtwin.core.edges import Edge
from streamtwin.core.ops import Op
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.ring import Item
from streamtwin.sim.services import ASIDE, ServiceTimes

Draw = Callable[[], float]
"""Seconds of the next service of one operation."""


def full_from(plan: Plan) -> int:
    """Ordinal from which on a row of *plan* attends the whole window."""
    return -(-plan.scenario.deployment.window // plan.scenario.shape.latents)


PassKey = int | tuple[int, ...]


def pass_key(item: Item, full: int, one_session: bool) -> PassKey:
    """What tells passes of *item* from others: rows from ordinal *full* on are alike.

    Of *one_session* the last row is the oldest, and if that is alike, all are.
    """
    rows = item.rows
    if one_session and rows[-1].ordinal >= full:
        return len(rows)
    return tuple([row.ordinal if row.ordinal < full else full for row in rows])


class Costs:
    """Service times of one rank, kept by what distinguishes its items."""

    def __init__(self, plan: Plan, stage: Stage, times: ServiceTimes) -> None:
        self.plan, self.times = plan, times
        self.slower = plan.scenario.deployment.slowdown.get(stage.rank, 1.0)
        self.slowest = plan.slowdown_of(stage)
        self._passes: dict[PassKey, Draw] = {}
        self._passes_of = stage
        self._encodes: dict[bool, Draw] = {}
        self._decodes: dict[bool, Draw] = {}
        self._full, self._one_session = full_from(plan), plan.scenario.workload.sessions == 1

    def pass_s(self, stage: Stage, item: Item) -> float:
        """Seconds in which *stage* passes *item*; `pass_key` tells passes apart."""
        if stage is not self._passes_of:
            self._passes, self._passes_of = {}, stage
        key = pass_key(item, self._full, self._one_session)
        draw = self._passes.get(key)
        if draw is None:
            draw = self._passes[key] = self.times.of(self.plan.dit_pass(stage, item))
        return self.slowest * draw()

    def encode_s(self, ordinal: int) -> float:
        """Seconds in which the chunk number *ordinal* is encoded."""
        return self._vae_s(self._encodes, ordinal, self.plan.encode)

    def decode_s(self, ordinal: int) -> float:
        """Seconds in which the chunk number *ordinal* is decoded."""
        return self._vae_s(self._decodes, ordinal, self.plan.decode)

    def _vae_s(self, known: dict[bool, Draw], ordinal: int, op_of: Callable[[int], Op]) -> float:
        first = ordinal == 0
        draw = known.get(first)
        if draw is None:
            draw = known[first] = self.times.of(op_of(ordinal))
        return self.slower * draw()


@dataclass(frozen=True, slots=True)
class Carriage:
    """Transfers of items that are alike: their bytes, and the seconds of the next one."""

    size_bytes: int
    draw: Draw


class LinkCosts:
    """Transfer times of one link, kept by what distinguishes its items."""

    def __init__(self, plan: Plan, edge: Edge, times: ServiceTimes) -> None:
        self.plan, self.edge, self.times = plan, edge, times
        self._known: dict[tuple[int, bool], Carriage] = {}

    def of(self, item: Item) -> Carriage:
        """What *item*, of which the link carries every row, costs it."""
        key = (len(item.rows), item.rows[0].ordinal == 0)
        known = self._known.get(key)
        if known is None:
            op, stream = self.plan.hop(item, self.edge), ASIDE if self.edge.results else None
            known = self._known[key] = Carriage(op.size_bytes, self.times.of(op, stream))
        return known
