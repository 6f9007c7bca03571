"""What does a laid-out scenario do? Stages, their operations, and the bytes they exchange."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.edges import Edge, edges_of, inward, outward
from streamtwin.core.forecast import NOTHING, Forecast
from streamtwin.core.ops import DitPass, Hop, VaeDecode, VaeEncode
from streamtwin.core.policies.partition import StageCosts
from streamtwin.core.ring import Item
from streamtwin.core.scenario import Scenario
from streamtwin.core.section import MAX_RANKS
from streamtwin.core.specs import ModelSpec, VaeSpec
from streamtwin.core.stages import Stage

__all__ = ["HEADER_BYTES", "Plan", "Stage"]

HEADER_BYTES = 8 * 128 + 14 * MAX_RANKS
"""Fixed size of the message that announces an item: 128 integers of 8 bytes for the item and its
rows, then for each rank 2 bytes of blocks to be and 12 of measured times."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario laid over ranks."""

    scenario: Scenario
    model: ModelSpec
    vae: VaeSpec
    stages: tuple[Stage, ...]
    itemsize: int
    """Bytes per element of weights and activations."""
    forecast: Forecast = NOTHING
    """Predicted times, where a policy of the scenario asks for them."""
    room: tuple[int, ...] = ()
    """Most blocks that the memory of each rank of blocks holds; empty: not known, so no limit."""
    session_room: int | None = None
    """Most sessions whose state the memory of every rank holds; None: not known."""
    capacity_bytes: tuple[float, ...] = ()
    """Memory that each rank may use; empty: not known."""
    cards: tuple[str, ...] = ()
    """The catalogue's card of each rank; empty: not known."""
    costs: StageCosts | None = None
    """What the partition policy was asked with; None: the scenario says the partition itself."""
    luck: int = 0
    """Which of many expected runs, alike but for what services scatter by, is simulated."""

    @property
    def resident(self) -> int:
        """Most sessions whose state a rank holds at once."""
        sessions, room = self.scenario.workload.sessions, self.session_room
        return sessions if room is None else min(sessions, room)

    @property
    def ranks(self) -> int:
        """Ranks, one device each: of stages of blocks, all of their members."""
        return sum(1 if stage.vae_only else self.members for stage in self.stages)

    @property
    def lanes(self) -> int:
        """W: stages of the ring, and its lanes."""
        return self.scenario.deployment.ring

    @property
    def members(self) -> int:
        """G: ranks that share the passes of a stage."""
        return self.scenario.deployment.members

    def stage_of(self, rank: int) -> Stage:
        """What *rank* does of the stage that it leads or belongs to."""
        stage = next(one for one in reversed(self.stages) if one.rank <= rank)
        return stage.of_member(rank - stage.rank)

    def ranks_of(self, stage: Stage) -> range:
        """The ranks that share the passes of *stage*."""
        return range(stage.rank, stage.rank + (1 if stage.vae_only else self.members))

    def slowdown_of(self, stage: Stage) -> float:
        """Factor by which passes of *stage* take longer: the slowest member holds all up."""
        slowdown = self.scenario.deployment.slowdown
        return max(slowdown.get(rank, 1.0) for rank in self.ranks_of(stage))

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The links between ranks."""
        return edges_of(self.scenario.deployment)

    def inward(self, rank: int) -> Edge | None:
        """The link on which *rank* receives; None where nothing hops."""
        return inward(self.edges, rank)

    def outward(self, rank: int) -> tuple[Edge, ...]:
        """The links on which *rank* sends, in the order in which it does."""
        return outward(self.edges, rank)

    @property
    def steps(self) -> int:
        """N: denoising steps of a chunk."""
        return self.scenario.deployment.steps

    @property
    def max_rows(self) -> int:
        """Rows a lane may carry: in a stream batch one per step, else one, of each of a batch."""
        deployment = self.scenario.deployment
        steps = deployment.steps if deployment.stream_batch else 1
        return steps * deployment.batching.batch

    @property
    def warmup_chunks(self) -> int:
        """Chunks emitted before window and lanes are full, from where on the period is steady."""
        scenario = self.scenario
        if scenario.deployment.context == "chunk":
            return 1 + self.lanes
        window = -(-(scenario.deployment.window - 1) // scenario.deployment.chunk_latents)
        return window + self.lanes

    @property
    def tail_chunks(self) -> int:
        """Chunks emitted while the lanes run empty after the end of the input."""
        deployment = self.scenario.deployment
        return self.lanes * (deployment.steps if deployment.stream_batch else 1)

    def attended_tokens(self, item: Item) -> float:
        """K: tokens that the item's rows attend, on average over its rows."""
        return self._attended(item, self.scenario.size.tokens)

    def _attended(self, item: Item, tokens: int) -> float:
        """The same, of frames of so many *tokens*."""
        filled = self.scenario.attended_by([row.ordinal for row in item.rows])
        return tokens * sum(filled) / len(filled)

    def dit_pass(self, stage: Stage, item: Item) -> DitPass:
        """The pass of *stage* over *item*."""
        [found] = self.dit_passes((stage,), item)
        return found

    def dit_passes(self, stages: Sequence[Stage], item: Item) -> list[DitPass]:
        """The passes of *stages* over *item*, which differ in nothing but what each stage holds."""
        latents = self.scenario.shape.latents_of(item.rows[0].ordinal)
        tokens = self.scenario.size.tokens
        kv_tokens = self._attended(item, tokens)
        return [
            DitPass(
                model=self.model.name,
                blocks=len(stage.blocks),
                rows=len(item.rows),
                chunk_latents=latents,
                tokens=tokens,
                kv_tokens=kv_tokens,
                embeds=stage.first,
                unembeds=stage.last,
            )
            for stage in stages
        ]

    def encode(self, ordinal: int) -> VaeEncode:
        """The encoding of the chunk number *ordinal*."""
        height, width = self.scenario.resolution
        latents = self.scenario.shape.latents_of(ordinal)
        return VaeEncode(self.vae.name, height, width, latents, ordinal == 0)

    def decode(self, ordinal: int) -> VaeDecode:
        """The decoding of the chunk number *ordinal*."""
        height, width = self.scenario.resolution
        latents = self.scenario.shape.latents_of(ordinal)
        return VaeDecode(self.vae.name, height, width, latents, ordinal == 0)

    def hop(self, item: Item, edge: Edge | None = None) -> Hop:
        """The transfer of *item* on *edge*, by default on one that carries activations.

        It has a header and what the edge carries of every row. A receive that is posted ahead is
        of the fullest item's size, because its length is not known yet.
        """
        link = edge or Edge(0, 1, activations=True)
        if self.scenario.deployment.overlaps:
            frames = self.fullest_frames(link)
        else:
            rows = item.finished(self.steps) if link.results else item.rows
            frames = len(rows) * self.scenario.shape.latents_of(item.rows[0].ordinal)
        return Hop(HEADER_BYTES + frames * self.frame_bytes(link.activations))

    def fullest_frames(self, edge: Edge) -> int:
        """Most latent frames that an item has on *edge*, all rows together."""
        batch = self.scenario.deployment.batching.batch
        rows = batch if edge.results else self.max_rows
        return max(rows * self.scenario.shape.latents_of(1), self.scenario.shape.latents_of(0))

    def row_bytes(self, ordinal: int) -> int:
        """Bytes of one row under way: hidden state [T' S, d] and latents [T', C, h, w]."""
        return self.scenario.shape.latents_of(ordinal) * self.frame_bytes(activations=True)

    def frame_bytes(self, activations: bool) -> int:
        """Bytes of one latent frame under way: latents [C, h, w], and hidden state [S, d]."""
        size = self.scenario.size
        hidden = size.tokens * self.model.dim * self.itemsize * activations
        return hidden + size.latent_bytes(self.model.latent_channels, self.itemsize)
