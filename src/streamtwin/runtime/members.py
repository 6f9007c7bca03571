"""How does a stage's leader call its members to a pass, and what do they do in between?

Only leaders take part in the pipeline. To every pass a leader announces the item to its members;
then all of them run it together, in `StageKernels.run`. Leader and members make the same calls of
their process group in the same order, so they cannot wait for each other in a circle.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist

from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder
from streamtwin.core.ring import Item
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.stage import SessionState, StageKernels, Work
from streamtwin.runtime.transport import HEADER_LENGTH, pack, unpack


def form_groups(plan: Plan, rank: int, device: str = "cpu") -> SequenceGroup | None:
    """The members of *rank*'s stage, connected; None where a stage is one rank.

    Every rank of the run must call this, in whichever stage it is.
    """
    G = plan.members
    if G == 1:
        return None
    own = None
    for stage in plan.stages:  # ranks outside a group take part in its making
        ranks = tuple(range(stage.rank, stage.rank + G))
        group = dist.new_group(list(ranks))
        if rank in ranks:
            method = plan.scenario.deployment.parallelism
            tokens = plan.scenario.size.tokens // G
            own = SequenceGroup(method, rank - stage.rank, G, tokens, ranks, group)
    assert own is not None
    # connections are made by the first message, which nothing that is timed should wait for
    own.exchange(torch.zeros(G, 1, device=device))
    return own


class Crew:
    """The leader's side: calls the members of its stage."""

    def __init__(self, sequence: SequenceGroup, clock: Callable[[], float], device: str) -> None:
        self.sequence, self.clock, self.device = sequence, clock, torch.device(device)

    def call(self, item: Item, work: Work) -> None:
        """Announce the pass over *item* that the leader is about to run."""
        self.sequence.broadcast(pack(item, work, self.clock()).to(self.device))

    def dismiss(self) -> None:
        """Say that no pass follows."""
        self.sequence.broadcast(pack(None, None, self.clock()).to(self.device))


class Member:
    """A rank that does not lead: it waits for the leader's call and takes part in the pass."""

    def __init__(
        self,
        kernels: StageKernels,
        state: SessionState,
        sequence: SequenceGroup,
        clock: Callable[[], float],
    ) -> None:
        self.kernels, self.state, self.sequence, self.clock = kernels, state, sequence, clock
        self.rank = sequence.ranks[sequence.rank]
        self.recorder = Recorder()

    def follow(self) -> None:
        """Take part in every pass until the leader says that none follows."""
        while (called := self.wait_call()) is not None:
            self.forward(*called)

    def wait_call(self) -> tuple[Item, Work] | None:
        """Wait for the leader's next pass; None when none follows."""
        began_s = self.clock()
        header = torch.empty(HEADER_LENGTH, dtype=torch.int64, device=self.kernels.device)
        item, timesteps, frames, _ = unpack(self.sequence.broadcast(header).tolist())
        if item is None:
            return None
        about = {"chunk": item.rows[0].chunk, "item": item.index}
        leader = self.sequence.ranks[0]
        self.recorder.span(self.rank, "wait_hop", began_s, self.clock(), peer=leader, **about)
        plan = self.kernels.plan
        shape = (frames, plan.model.latent_channels, *plan.scenario.size.latent)
        return item, Work(self.kernels.zeros(len(item.rows), *shape), timesteps)

    def forward(self, item: Item, work: Work) -> None:
        """Run this member's part of a pass; *work* has room for what the leader sends."""
        began_s = self.clock()
        self.kernels.run(self.state, item, work)
        self.kernels.synchronize()
        rows = len(item.rows)
        about = {"chunk": item.rows[0].chunk, "item": item.index, "rows": rows}
        self.recorder.span(self.rank, "dit", began_s, self.clock(), **about)
