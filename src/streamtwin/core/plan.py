"""How does a scenario lie over ranks? Stages, their operations, and the bytes they exchange."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from streamtwin.core import catalog
from streamtwin.core.edges import Edge, edges_of, inward, outward
from streamtwin.core.errors import ScenarioError
from streamtwin.core.latency import LatencyModel
from streamtwin.core.ops import DitPass, Hop, VaeDecode, VaeEncode
from streamtwin.core.policies.partition import PARTITION, WEIGHS_NOTHING, StageCosts
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario import Scenario
from streamtwin.core.specs import ModelSpec, VaeSpec
from streamtwin.core.stages import Stage, block_ranks, given_blocks, stages_of

__all__ = ["HEADER_BYTES", "Plan", "Stage", "lay_out", "stage_costs"]

HEADER_BYTES = 1024
"""Fixed size of the message that announces an item: 128 integers of 8 bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario laid over ranks."""

    scenario: Scenario
    model: ModelSpec
    vae: VaeSpec
    stages: tuple[Stage, ...]
    itemsize: int
    """Bytes per element of weights and activations."""

    @property
    def ranks(self) -> int:
        """Ranks, one device each."""
        return len(self.stages)

    @property
    def lanes(self) -> int:
        """W: ranks of the ring, and its lanes."""
        return self.scenario.deployment.ring

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
        window = -(-(scenario.deployment.window - 1) // scenario.deployment.chunk_latents)
        return window + self.lanes

    @property
    def tail_chunks(self) -> int:
        """Chunks emitted while the lanes run empty after the end of the input."""
        deployment = self.scenario.deployment
        return self.lanes * (deployment.steps if deployment.stream_batch else 1)

    def attended_tokens(self, item: Item) -> float:
        """K: tokens that the item's rows attend, on average over its rows."""
        shape, window = self.scenario.shape, self.scenario.attention_window
        filled = [
            window.filled(shape.first_latent(row.ordinal) + shape.latents_of(row.ordinal) - 1)
            for row in item.rows
        ]
        return self.scenario.size.tokens * sum(filled) / len(filled)

    def dit_pass(self, stage: Stage, item: Item) -> DitPass:
        """The pass of *stage* over *item*."""
        return DitPass(
            model=self.model.name,
            blocks=len(stage.blocks),
            rows=len(item.rows),
            chunk_latents=self.scenario.shape.latents_of(item.rows[0].ordinal),
            tokens=self.scenario.size.tokens,
            kv_tokens=self.attended_tokens(item),
            embeds=stage.first,
            unembeds=stage.last,
        )

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


def lay_out(
    scenario: Scenario,
    latency: Callable[[], LatencyModel] | None = None,
    itemsize: int = 4,
) -> Plan:
    """Lay *scenario* over its ranks.

    *latency* is asked only by partition policies that weigh predicted times.

    Raises:
        ScenarioError: more ranks than blocks, or a policy needs a latency model and has none.
        UserError: model or VAE are unknown.
    """
    model, vae = catalog.model(scenario.model), catalog.vae(scenario.vae)
    ranks = block_ranks(scenario.deployment)
    if ranks > model.blocks:
        most = model.blocks + scenario.deployment.gpus - ranks
        raise ScenarioError(
            f"deployment.gpus = {scenario.deployment.gpus}: {model.name} has {model.blocks} "
            f"blocks and every rank holds at least one, so choose at most {most}"
        )
    if model.latent_channels != vae.latent_channels:
        raise ScenarioError(
            f"vae = {vae.name!r} has {vae.latent_channels} latent channels, "
            f"model = {model.name!r} wants {model.latent_channels}"
        )
    draft = Plan(
        scenario,
        model,
        vae,
        stages_of([range(model.blocks)] * ranks, scenario.deployment),
        itemsize,
    )
    return replace(draft, stages=stages_of(_blocks(draft, ranks, latency), scenario.deployment))


def _blocks(draft: Plan, ranks: int, latency: Callable[[], LatencyModel] | None) -> Sequence[range]:
    """Which blocks each of *ranks* ranks holds, as the scenario says or the policy decides."""
    partition, model = draft.scenario.deployment.partition, draft.model
    if partition.blocks is not None:
        return given_blocks(partition.blocks, model, ranks)
    if partition.policy in WEIGHS_NOTHING:
        costs = StageCosts((1.0,) * model.blocks, (0.0,) * ranks)
    elif latency is None:
        raise ScenarioError(
            f"deployment.partition.policy = {partition.policy!r} needs a latency profile"
        )
    else:
        costs = stage_costs(draft, latency())
    return PARTITION[partition.policy](costs)


def stage_costs(plan: Plan, latency: LatencyModel) -> StageCosts:
    """Predicted steady time in seconds of each block, and of what a rank of blocks does besides."""
    item = _steady_item(plan)
    blocks, stages = plan.model.blocks, [stage for stage in plan.stages if stage.blocks]

    def pass_s(stage: Stage, count: int) -> float:
        part = replace(stage, blocks=range(count))
        return latency.predict(plan.dit_pass(part, item)).mean_s

    block_s = (pass_s(stages[0], blocks) - pass_s(stages[0], 1)) / (blocks - 1)
    fixed = [
        max(0.0, pass_s(stage, 1) - block_s) + _exposed_hop_s(plan, stage, latency, item)
        for stage in stages
    ]
    fixed[0] += latency.predict(plan.encode(1)).mean_s * stages[0].encodes
    fixed[-1] += latency.predict(plan.decode(1)).mean_s * stages[-1].decodes
    return StageCosts((block_s,) * blocks, tuple(fixed))


def _exposed_hop_s(plan: Plan, stage: Stage, latency: LatencyModel, item: Item) -> float:
    """What a transfer takes of a rank's time: nothing where it is alone or transfers hide."""
    edge = plan.inward(stage.rank)
    if edge is None or plan.scenario.deployment.overlaps:
        return 0.0
    return latency.predict(plan.hop(item, edge)).mean_s


def _steady_item(plan: Plan) -> Item:
    late = 1 + plan.scenario.deployment.window
    return Item(late, tuple(Row(0, late, late, step) for step in range(plan.max_rows)))
