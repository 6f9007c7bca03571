"""By which sums and maxima does every instant of one deployment follow from earlier ones?

In a walk (`sim.turns`) whose instants are places on a tape, its steps, one after the other, say how
each came to be, and whoever goes through the tape gets the same instants without asking what a rank does.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.sim.turn_costs import OpsOf, TurnCosts

Kind = Literal["start", "after", "later", "until"]

Noting = tuple[Kind, int, int, float]
"""A `Step` as it is written down: making a plain tuple takes a fraction of the time."""


class Step(NamedTuple):
    """How an instant follows from those `back` steps before it.

    `after`: `seconds` later. `later`: the later of this one and the one `other` steps before.
    `until`: this one, or when chunk number `other` is released, if that is later.
    """

    kind: Kind
    back: int = 0
    other: int = 0
    seconds: float = 0.0

    def further(self, chunks: int) -> "Step":
        """The same step where the stream is *chunks* further."""
        return self._replace(other=self.other + chunks) if self.kind == "until" else self


class Tape(TurnCosts[int, float]):
    """Steps, and the instants in seconds that they gave; an instant is its place.

    It has the service times of one deployment.
    """

    def __init__(self, plan: Plan, latency: LatencyModel) -> None:
        super().__init__(plan)
        self.plan, self.latency = plan, latency
        self._slower = plan.scenario.deployment.slowdown
        self.steps: list[Noting] = [Step("start")]
        self.values_s: list[float] = [0.0]

    def start(self) -> int:
        """The first place of the tape."""
        return 0

    def after(self, at: int, seconds: float) -> int:
        """The instant *seconds* after that one."""
        values_s = self.values_s
        place = len(values_s)
        self.steps.append(("after", place - at, 0, seconds))
        values_s.append(values_s[at] + seconds)
        return place

    def later(self, one: int, other: int) -> int:
        """The later of the two."""
        values_s = self.values_s
        place = len(values_s)
        self.steps.append(("later", place - one, place - other, 0.0))
        one_s, other_s = values_s[one], values_s[other]
        values_s.append(one_s if one_s >= other_s else other_s)
        return place

    def until(self, at: int, chunk: int, released_s: float) -> int:
        """The release of *chunk*, if that is later; clocks get there by what is missing."""
        values_s = self.values_s
        place = len(values_s)
        self.steps.append(("until", place - at, chunk, 0.0))
        values_s.append(values_s[at] + max(0.0, released_s - values_s[at]))
        return place

    def asked(self, ops: OpsOf, ranks: Sequence[int | None]) -> list[float]:
        """What the deployment's latency model predicts."""
        predict, slower = self.latency.predict, self._slower
        factors = [1.0 if rank is None else slower.get(rank, 1.0) for rank in ranks]
        pairs = zip(factors, ops(self.plan), strict=True)
        return [factor * predict(op).mean_s for factor, op in pairs]
