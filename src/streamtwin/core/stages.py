"""What does each rank hold and do?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamtwin.core.errors import ScenarioError
from streamtwin.core.policies.partition import intervals
from streamtwin.core.protocol import Layout
from streamtwin.core.specs import ModelSpec


@dataclass(frozen=True, slots=True)
class Stage:
    """What one rank does: its blocks, and its roles.

    `first` and `last`: it stands at that end of the ranks of blocks, so it embeds or ends with the
    denoising step, also when it holds no block. Rank 0 always encodes and leads. A rank of the
    VAE's own has no blocks. Where a stage has several members, `rank` is the one that leads.
    """

    rank: int
    blocks: range
    first: bool
    last: bool
    encodes: bool
    decodes: bool

    @property
    def alone(self) -> bool:
        """Whether this rank is the whole ring, so that nothing hops."""
        return self.first and self.last and self.encodes and self.decodes

    @property
    def vae_only(self) -> bool:
        """Whether this rank has the VAE's work to do and nothing of the model's."""
        return (self.encodes or self.decodes) and not (self.first or self.last)

    def of_member(self, member: int) -> "Stage":
        """What that *member* does; of the model's ends all embed, the rest is the leader's."""
        if member == 0:
            return self
        rank = self.rank + member
        return replace(self, rank=rank, last=False, encodes=False, decodes=False)


def given_blocks(
    blocks: list[int], model: ModelSpec, stages: int, key: str = "blocks", least: int = 1
) -> list[range]:
    """The partition that the scenario states itself under *key*: at least *least* blocks a stage."""
    if len(blocks) != stages or min(blocks) < least or sum(blocks) != model.blocks:
        raise ScenarioError(
            f"deployment.partition.{key} = {blocks}: give {stages} counts of at least {least}, one a "
            f"stage, that sum to the {model.blocks} blocks of {model.name}"
        )
    return list(intervals(blocks))


def of_every_rank(counts: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Blocks of every rank, given *counts* of those that hold some: none on ranks of the VAE's."""
    return (0, *counts, 0) if layout.dedicated else tuple(counts)


def stages_of(blocks: Sequence[range], layout: Layout) -> tuple[Stage, ...]:
    """Stages of *blocks* in rank order, between those of the VAE where it has its own."""
    none, own = range(0), layout.dedicated
    last = len(blocks) - 1
    middle = [
        Stage(
            layout.leaders[i + own],
            part,
            i == 0,
            i == last,
            i == 0 and not own,
            i == last and not own,
        )
        for i, part in enumerate(blocks)
    ]
    if not own:
        return tuple(middle)
    encoder = Stage(0, none, first=False, last=False, encodes=True, decodes=False)
    decoder = Stage(layout.leaders[-1], none, first=False, last=False, encodes=False, decodes=True)
    return (encoder, *middle, decoder)
