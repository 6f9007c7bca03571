"""How does a stage's leader call its members to a pass, and what do they do in between?

Only leaders take part in the pipeline. To every pass a leader announces the item to its members;
then all of them run it together, in `StageKernels.run`. Leader and members make the same calls of
their process group in the same order, so they cannot wait for each other in a circle.

An item says all that a member needs to know: the first row of a session makes its state, rows
name the chunk and with it the prompt, and a session that leaves is marked. Which sinks are taken
over follows from numbers that all members have in common.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist

from streamtwin.core.limits import MESSAGE_S
from streamtwin.core.plan import Plan
from streamtwin.core.records import Recorder, SpanKind
from streamtwin.core.ring import Item
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.header import HEADER_LENGTH, pack, unpack
from streamtwin.runtime.pulse import Pulse
from streamtwin.runtime.states import States


def form_groups(
    plan: Plan, rank: int, device: str = "cpu", pulse: Pulse | None = None
) -> SequenceGroup | None:
    """The members of *rank*'s stage, connected; None where a stage is one rank.

    Every rank of the run must call this, in whichever stage it is. *pulse* tells when the rank
    waits for other members.
    """
    G = plan.members
    if G == 1:
        return None
    own = None
    for stage in plan.stages:  # ranks outside a group take part in its making
        if stage.vae_only:
            continue
        ranks = tuple(range(stage.rank, stage.rank + G))
        group = dist.new_group(list(ranks), timedelta(seconds=MESSAGE_S))
        if rank in ranks:
            method = plan.scenario.deployment.parallelism
            tokens = plan.scenario.size.tokens // G
            waiting = partial((pulse or Pulse()).meeting, stage.rank)
            own = SequenceGroup(method, rank - stage.rank, G, tokens, ranks, group, waiting)
    if own is None:  # a rank of the VAE's own
        return None
    # connections are made by the first message, which nothing that is timed should wait for
    own.exchange(torch.zeros(G, 1, device=device))
    return own


class Leader:
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
        states: States,
        sequence: SequenceGroup,
        clock: Callable[[], float],
        recorder: Recorder,
        pulse: Pulse | None = None,
    ) -> None:
        self.states, self.sequence, self.clock, self.recorder = states, sequence, clock, recorder
        self.kernels: StageKernels = states.kernels
        self.rank = self.kernels.stage.rank
        self.pulse = pulse or Pulse()
        slowdown = self.kernels.plan.scenario.deployment.slowdown
        self.slower = slowdown.get(self.rank, 1.0)

    def follow(self) -> None:
        """Take part in every pass until the leader says that none follows."""
        while (called := self.wait_call()) is not None:
            self.forward(*called)
        self.pulse.busy("end")

    def wait_call(self) -> tuple[Item, Work] | None:
        """Wait for the leader's next pass; None when none follows."""
        leader, began_s = self.sequence.ranks[0], self.clock()
        self.pulse.waits_for(leader, "members")
        header = torch.empty(HEADER_LENGTH, dtype=torch.int64, device=self.kernels.device)
        item, timesteps, frames, _ = unpack(self.sequence.broadcast(header).tolist())
        if item is None:
            return None
        self.pulse.busy("dit", item.index)
        self._record("wait_hop", item, began_s, peer=leader)
        plan = self.kernels.plan
        shape = (frames, plan.model.latent_channels, *plan.scenario.size.latent)
        return item, Work(self.kernels.zeros(len(item.rows), *shape), timesteps)

    def forward(self, item: Item, work: Work) -> None:
        """Run this member's part of a pass; *work* has room for what the leader sends."""
        began_s = self.clock()
        states = {row.session: self.states.of(row.session) for row in item.rows}
        self.kernels.run(states, item, work)
        self.kernels.synchronize()
        if self.slower > 1:
            self.pulse.lingers((self.slower - 1) * (self.clock() - began_s))
        self._record("dit", item, began_s, rows=len(item.rows))
        for state in states.values():
            state.sinks.replaced.clear()  # the leader records them: all members decide alike
        self.states.drop(item.leaving)

    def _record(self, kind: SpanKind, item: Item, began_s: float, **about: int) -> None:
        newest = item.rows[0]
        about |= {"session": newest.session, "chunk": newest.chunk, "item": item.index}
        self.recorder.span(self.rank, kind, began_s, self.clock(), **about)
