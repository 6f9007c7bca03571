"""How is a transfer between ranks performed by the calls that a pipeline makes, and timed?

Rank 0 orders one after the other. All ranks get ready, agree on an instant, keep their cores busy
until it comes, as ranks that compute do, and begin together. A transfer lasts from when the last
of them was there until it is done: an exchange when every member has its share, a migration when
the block is in place at the rank that gets it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch

from streamtwin.calibrate.cases import CalibrationRequest, Case
from streamtwin.calibrate.harness import Clock
from streamtwin.calibrate.seats import Seat
from streamtwin.calibrate.transfer_cases import migration_sizes
from streamtwin.core.ops import Collective, Migration
from streamtwin.core.plan import Plan, Stage
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.states import States

LEAD_S = 0.001
"""How far ahead the instant lies on which ranks agree: longer than it takes to tell them."""

STOP = -1

INPUTS = 4
"""Different random inputs of each size, used in turn."""

NEVER = float("-inf")
"""The end of what a rank takes no part in, or does not have to wait for."""

HOME, AWAY = (2, 1), (1, 2)
"""Blocks of ranks 0 and 1 before a migration, and behind it."""


class Act(Protocol):
    """One kind of transfer on one rank."""

    def prepare(self, case: Case) -> Callable[[], object]:
        """Put in place what *case* needs; returns what is then timed."""
        ...

    def restore(self) -> None:
        """Undo what was done, with no clock running."""
        ...

    def counts(self, rank: int) -> bool:
        """Whether the transfer lasts until *rank* is done."""
        ...


class TransferEnd:
    """One rank's end of every transfer that is timed; on rank 0 a `Runner`."""

    def __init__(
        self, request: CalibrationRequest, seat: Seat, cases: Sequence[Case], clock: Clock
    ) -> None:
        self.seat, self.cases, self.clock = seat, cases, clock
        self.order = {case: number for number, case in enumerate(cases)}
        self.exchanges, self.migrations = Exchanges(seat), Migrations(request, seat)

    def time_s(self, case: Case, _clock: Clock) -> float:
        """Order *case* and take part in it; seconds by the clock that all ranks share."""
        self.seat.tell(torch.tensor([self.order[case]]))
        return self._perform(case)

    def stop(self) -> None:
        """Tell the others that nothing follows."""
        self.seat.tell(torch.tensor([STOP]))

    def serve(self) -> None:
        """Do what rank 0 orders until it says stop."""
        while (number := int(self.seat.tell(torch.tensor([STOP])).item())) != STOP:
            self._perform(self.cases[number])

    def _perform(self, case: Case) -> float:
        act: Act = self.exchanges if isinstance(case.op, Collective) else self.migrations
        transfer = act.prepare(case)
        self.seat.synchronize()
        self.seat.compare([0.0])  # all are ready
        start_s = torch.tensor([self.clock() + LEAD_S], dtype=torch.float64)
        self.seat.tell(start_s)
        while (began_s := self.clock()) < start_s.item():
            pass
        transfer()
        self.seat.synchronize()
        done_s = self.clock() if act.counts(self.seat.rank) else NEVER
        instants = self.seat.compare([began_s, done_s])
        act.restore()
        return lasted_s(instants)


def lasted_s(instants: Sequence[Sequence[float]]) -> float:
    """Seconds from when the last rank began until the last one was done, of a pair for each."""
    began, done = zip(*instants, strict=True)
    return float(max(done) - max(began))


class Exchanges:
    """What members of a stage do together, by the calls of `kernels.sequence`."""

    def __init__(self, seat: Seat) -> None:
        everybody = tuple(range(seat.ranks))
        self.seat = seat
        self.group = SequenceGroup("ulysses", seat.rank, seat.ranks, 1, everybody, None)
        self.turn = 0
        self.inputs: dict[int, torch.Tensor] = {}

    def prepare(self, case: Case) -> Callable[[], object]:
        """See `Act`."""
        op, group = case.op, self.group
        assert isinstance(op, Collective)
        x = self._random(op.size_bytes)
        calls: dict[str, Callable[[], object]] = {
            "all_to_all": lambda: group.exchange(x),
            "ring_shift": lambda: self._shift(x),
            "all_gather": lambda: group.join_means(x),
        }
        return calls[op.exchange]

    def restore(self) -> None:
        """Nothing was changed."""

    def counts(self, rank: int) -> bool:
        """Every member needs its share to go on."""
        return rank < self.seat.ranks

    def _shift(self, x: torch.Tensor) -> torch.Tensor:
        """One turn of Ring: x goes to the next member, and that of the member before comes."""
        coming = self.group.pass_on(x)
        return coming()

    def _random(self, size_bytes: int) -> torch.Tensor:
        """The next of a few random tensors [members, n] of so many bytes."""
        ranks, dtype = self.seat.ranks, self.seat.dtype
        if size_bytes not in self.inputs:
            shape = (INPUTS, ranks, size_bytes // (ranks * dtype.itemsize))
            self.inputs[size_bytes] = torch.randn(shape).to(self.seat.device, dtype)
        self.turn += 1
        chosen: torch.Tensor = self.inputs[size_bytes][self.turn % INPUTS]
        assert chosen.nbytes == size_bytes
        return chosen


class Migrations:
    """A block goes from rank 0 to rank 1 by `runtime.exchange`, and comes back."""

    def __init__(self, request: CalibrationRequest, seat: Seat) -> None:
        self.seat, self.sessions = seat, migration_sizes(request)
        self.exchange: BlockExchange | None = None
        if seat.rank < len(HOME):
            plan = _two_stages(request.plan())
            kernels = StageKernels(plan, plan.stages[seat.rank], seat.device, seat.dtype)
            self.states = States(kernels)
            self.known = [kernels.new_session(n) for n in range(max(self.sessions.values()))]
            self.exchange = BlockExchange(plan, kernels, self.states)

    def prepare(self, case: Case) -> Callable[[], object]:
        """See `Act`."""
        op = case.op
        assert isinstance(op, Migration)
        if self.exchange is None:
            return lambda: None
        self.states.held = dict(enumerate(self.known[: self.sessions[op.size_bytes]]))
        return lambda: self._move(AWAY, op.size_bytes)

    def restore(self) -> None:
        """Take the block back."""
        if self.exchange is not None:
            self.exchange.wait_taken()
            self._move(HOME)
            self.exchange.wait_taken()

    def counts(self, rank: int) -> bool:
        """Only the rank that gets the block waits for it."""
        return rank == 1

    def _move(self, counts: tuple[int, ...], size_bytes: int | None = None) -> None:
        """Give or get a block; what rank 1 gets has *size_bytes*."""
        assert self.exchange is not None
        received = self.exchange.move_to(counts)
        assert size_bytes is None or received == size_bytes * self.seat.rank, received


def _two_stages(plan: Plan) -> Plan:
    """The plan's model with as many blocks as it takes to give one away, on two ranks."""
    first, second = HOME
    stages = (range(first), range(first, first + second))
    return replace(
        plan,
        model=replace(plan.model, blocks=first + second),
        stages=tuple(Stage(r, each, False, False, False, False) for r, each in enumerate(stages)),
    )
