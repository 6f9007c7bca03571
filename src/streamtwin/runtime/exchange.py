"""How do blocks change hands between ranks while the stream runs?

Twin of `streamtwin.sim.exchange`. Every rank exchanges behind the same item, after it has sent
it and before it computes the next: each item meets each block once, and nothing is drained. A
rank posts what it gives before it waits for what it gets, and gives without waiting, so chains
over several ranks resolve. Messages go through a group of their own: in the ring's they would
stand behind items that nobody has asked for yet.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import combinations

import torch
import torch.distributed as dist
from torch import Tensor

from streamtwin.core.limits import MESSAGE_S
from streamtwin.core.moves import Move, moves_between
from streamtwin.core.plan import Plan
from streamtwin.core.policies.partition import intervals
from streamtwin.kernels.migration import BlockLoad, put_block, take_block
from streamtwin.kernels.stage import StageKernels
from streamtwin.runtime.freight import NOTES, pack, unpack
from streamtwin.runtime.pulse import Pulse
from streamtwin.runtime.states import States

PATIENCE = 2
"""Items behind a move after which its giver waits until all is taken: the next rank takes the
second item behind a move only once it has its blocks, so that waiting costs nothing there."""


class BlockExchange:
    """One rank's part in every move of blocks."""

    def __init__(
        self, plan: Plan, kernels: StageKernels, states: States, pulse: Pulse | None = None
    ) -> None:
        self.kernels, self.states, self.pulse = kernels, states, pulse or Pulse()
        self.rank = kernels.stage.rank
        self.counts = tuple(len(stage.blocks) for stage in plan.stages)
        self.group = _open_group(plan, kernels.device) if may_move(plan) else None
        self._sending: list[tuple[dist.Work, Tensor, int]] = []
        self._age = 0

    def settle(self) -> None:
        """Let go of what was given, once it is old enough; to be called behind every item."""
        self._age += 1
        if self._sending and self._age > PATIENCE:
            self.wait_taken()

    def wait_taken(self) -> None:
        """Wait until all that was given has been taken, and free it."""
        if not self._sending:
            return
        for handle, _, receiver in self._sending:
            self.pulse.waits_for(receiver, "sent")
            handle.wait()
        self._finish_calls()
        self.pulse.busy("decide")
        self._sending.clear()

    def move_to(self, counts: tuple[int, ...]) -> int | None:
        """Give and get blocks until each rank holds as many as *counts* says.

        Returns the bytes received; None where this rank has no part in it.
        """
        if self.kernels.stage.vae_only:
            return None
        self.wait_taken()
        self.states.measure()
        moves = moves_between(self.counts, counts)
        given = [move for move in moves if move.giver == self.rank]
        due = [move for move in moves if move.receiver == self.rank]
        for move in given:
            load = take_block(self.kernels.dit, self.states.held, move.block)
            self._give(load, move.receiver)
        received = sum(self._get(move) for move in due)
        self.counts, self._age = counts, 0
        self._enter(intervals(counts)[self.rank])
        return received if given or due else None

    def _enter(self, blocks: range) -> None:
        self.kernels.stage = replace(self.kernels.stage, blocks=blocks)
        self.kernels.dit.interval = blocks
        assert self.kernels.dit.held == list(blocks)
        self.states.measure()

    def _give(self, load: BlockLoad, receiver: int) -> None:
        for part in pack(load):
            message = part.to(self.kernels.device)
            handle = dist.isend(message, receiver, group=self.group)
            assert handle is not None
            # the tensor is kept with its handle: it must live until the message has left
            self._sending.append((handle, message, receiver))

    def _get(self, move: Move) -> int:
        """Take in the block of *move*; returns the bytes of its tensors."""
        sizes = []

        def receive(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            part = torch.empty(shape, dtype=dtype, device=self.kernels.device)
            self.pulse.waits_for(move.giver, "receive")
            dist.recv(part, move.giver, group=self.group)
            self.pulse.busy("decide")
            sizes.append(part.nbytes)
            return part

        load = unpack(receive)
        assert isinstance(load, BlockLoad)
        assert load.index == move.block, f"block {load.index} came, {move.block} was due"
        self._finish_calls()
        put_block(self.kernels.dit, self.states.held, load)
        return sum(sizes[NOTES:])

    def _finish_calls(self) -> None:
        """Let the host wait for what has arrived or left, and not for messages still to be taken."""
        if self.kernels.device.type == "cuda":
            torch.cuda.current_stream(self.kernels.device).synchronize()


def may_move(plan: Plan) -> bool:
    """Whether blocks may change hands in a run of *plan*."""
    partition = plan.scenario.deployment.partition
    return plan.ranks > 1 and (partition.trigger != "never" or bool(partition.schedule))


def _open_group(plan: Plan, device: torch.device) -> dist.ProcessGroup:
    """A group for blocks; every pair that may meet has met before the clock runs.

    With NCCL the first message of a pair opens its connection, for which both must be there:
    a rank that gives would wait.
    """
    members, timeout = list(range(plan.ranks)), timedelta(seconds=MESSAGE_S)
    group: dist.ProcessGroup = dist.new_group(members, timeout)
    token = torch.zeros(1, device=device)
    for first, second in _pairs(plan):
        if dist.get_rank() == first:
            dist.send(token, second, group=group)
        elif dist.get_rank() == second:
            dist.recv(token, first, group=group)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return group


def _pairs(plan: Plan) -> Iterable[tuple[int, int]]:
    """Pairs of ranks of blocks, in one order for all of them: each meets one at a time."""
    return combinations((stage.rank for stage in plan.stages if not stage.vae_only), 2)
