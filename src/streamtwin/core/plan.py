"""How does a scenario lie over ranks? Stages, their operations, and the bytes they exchange."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from streamtwin.core import catalog
from streamtwin.core.errors import ScenarioError
from streamtwin.core.forecast import NOTHING, Forecast
from streamtwin.core.latency import LatencyModel
from streamtwin.core.ops import DitPass, Hop, VaeDecode, VaeEncode
from streamtwin.core.policies.batching import PREDICTS
from streamtwin.core.policies.partition import PARTITION, WEIGHS_NOTHING, StageCosts
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario import Scenario
from streamtwin.core.sequence import check_predictable, check_split
from streamtwin.core.specs import ModelSpec, VaeSpec

HEADER_BYTES = 1024
"""Fixed size of the message that announces an item: 128 integers of 8 bytes."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one rank does: its blocks, and whether it is the first or the last of the ring.

    `first` and `last`: it embeds, or ends with the denoising step. `encodes` and `decodes`: it
    has that half of the VAE. Where a stage has several members, `rank` is the one that leads.
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
        return self.first and self.last

    def of_member(self, member: int) -> "Stage":
        """What that *member* does; of the model's ends all embed, the rest is the leader's."""
        if member == 0:
            return self
        rank = self.rank + member
        return replace(self, rank=rank, last=False, encodes=False, decodes=False)


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

    @property
    def ranks(self) -> int:
        """Processes: W stages of G members."""
        return self.lanes * self.members

    @property
    def lanes(self) -> int:
        """W: stages, and lanes of the ring."""
        return len(self.stages)

    @property
    def members(self) -> int:
        """G: ranks of each stage."""
        return self.scenario.deployment.members

    def stage_of(self, rank: int) -> Stage:
        """What *rank* does of the stage that it leads or belongs to."""
        lane, member = divmod(rank, self.members)
        return self.stages[lane].of_member(member)

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

    def hop(self, item: Item) -> Hop:
        """The transfer of *item*: header, activations and latents of every row."""
        return Hop(HEADER_BYTES + len(item.rows) * self.row_bytes(item.rows[0].ordinal))

    def row_bytes(self, ordinal: int) -> int:
        """Bytes of one row under way: hidden state [T' S, d] and latents [T', C, h, w]."""
        latents = self.scenario.shape.latents_of(ordinal)
        hidden = self.scenario.size.tokens * self.model.dim * self.itemsize
        return latents * (
            hidden + self.scenario.size.latent_bytes(self.model.latent_channels, self.itemsize)
        )


def lay_out(
    scenario: Scenario,
    latency: Callable[[], LatencyModel] | None = None,
    itemsize: int = 4,
) -> Plan:
    """Lay *scenario* over its ranks.

    *latency* is asked only by policies that weigh predicted times.

    Raises:
        ScenarioError: more stages than blocks, a stage's members cannot share its passes equally,
            or a policy needs a latency model and has none.
        UserError: model or VAE are unknown.
    """
    model, vae = catalog.model(scenario.model), catalog.vae(scenario.vae)
    members = scenario.deployment.members
    lanes = scenario.deployment.gpus // members
    if lanes > model.blocks:
        raise ScenarioError(
            f"deployment.gpus = {lanes * members}: {model.name} has {model.blocks} blocks and every "
            f"{'rank' if members == 1 else 'stage'} holds at least one, so choose at most "
            f"{model.blocks * members}"
        )
    parallelism = scenario.deployment.parallelism
    check_split(
        parallelism, lanes * members, members, tokens=scenario.size.tokens, heads=model.heads
    )
    if model.latent_channels != vae.latent_channels:
        raise ScenarioError(
            f"vae = {vae.name!r} has {vae.latent_channels} latent channels, "
            f"model = {model.name!r} wants {model.latent_channels}"
        )
    whole = _stages([range(model.blocks)] * lanes, members)
    draft = Plan(scenario, model, vae, whole, itemsize)
    plan = replace(draft, stages=_stages(_partition(draft, latency), members))
    batching = scenario.deployment.batching.policy
    if batching not in PREDICTS:
        return plan
    check_predictable(scenario.name, parallelism, members)
    if latency is None:
        raise ScenarioError(f"deployment.batching.policy = {batching!r} needs a latency profile")
    return replace(plan, forecast=forecast(plan, latency()))


def _partition(draft: Plan, latency: Callable[[], LatencyModel] | None) -> list[range]:
    """Blocks of each stage, as the scenario states them or its policy decides."""
    deployment, lanes = draft.scenario.deployment, draft.lanes
    partition, name = deployment.partition, deployment.partition.policy
    if partition.blocks is not None:
        return _given(partition.blocks, draft.model, lanes)
    if name in WEIGHS_NOTHING:
        costs = StageCosts((1.0,) * draft.model.blocks, (0.0,) * lanes)
    else:
        check_predictable(draft.scenario.name, deployment.parallelism, draft.members)
        if latency is None:
            raise ScenarioError(f"deployment.partition.policy = {name!r} needs a latency profile")
        costs = stage_costs(draft, latency())
    return list(PARTITION[name](costs))


def _given(blocks: list[int], model: ModelSpec, lanes: int) -> list[range]:
    """The partition that the scenario states itself."""
    if len(blocks) != lanes or min(blocks) < 1 or sum(blocks) != model.blocks:
        raise ScenarioError(
            f"deployment.partition.blocks = {blocks}: give {lanes} counts of at least 1, one a "
            f"stage, that sum to the {model.blocks} blocks of {model.name}"
        )
    starts = [sum(blocks[:lane]) for lane in range(lanes)]
    return [range(start, start + count) for start, count in zip(starts, blocks, strict=True)]


def _stages(blocks: list[range], members: int) -> tuple[Stage, ...]:
    last = len(blocks) - 1
    return tuple(
        Stage(i * members, part, i == 0, i == last, i == 0, i == last)
        for i, part in enumerate(blocks)
    )


def stage_costs(plan: Plan, latency: LatencyModel) -> StageCosts:
    """Predicted steady time in seconds of each block and of what each rank does besides."""
    item = _steady_item(plan, plan.max_rows)
    blocks = plan.model.blocks

    def pass_s(stage: Stage, count: int) -> float:
        part = replace(stage, blocks=range(count))
        return latency.predict(plan.dit_pass(part, item)).mean_s

    block_s = (pass_s(plan.stages[0], blocks) - pass_s(plan.stages[0], 1)) / (blocks - 1)
    hop_s = latency.predict(plan.hop(item)).mean_s if plan.lanes > 1 else 0.0
    fixed = [max(0.0, pass_s(stage, 1) - block_s) + hop_s for stage in plan.stages]
    fixed[0] += latency.predict(plan.encode(1)).mean_s
    fixed[-1] += latency.predict(plan.decode(1)).mean_s
    return StageCosts((block_s,) * blocks, tuple(fixed))


def _steady_item(plan: Plan, rows: int) -> Item:
    """A turn of *rows* rows, all so late in their streams that they attend the full window."""
    late, steps = 1 + plan.scenario.deployment.window, plan.steps
    return Item(late, tuple(Row(i // steps, late, late, i % steps) for i in range(rows)))


def forecast(plan: Plan, latency: LatencyModel) -> Forecast:
    """What *latency* predicts for turns of *plan* of up to as many rows as a lane may carry.

    Raises:
        CalibrationError: the latency model cannot answer for so many rows.
    """
    turns = [_turn(plan, latency, rows) for rows in range(1, plan.max_rows + 1)]
    return Forecast((0.0, *(turn for turn, _ in turns)), (0.0, *(ring for _, ring in turns)))


def _turn(plan: Plan, latency: LatencyModel, rows: int) -> tuple[float, float]:
    item = _steady_item(plan, rows)
    encode_s = latency.predict(plan.encode(1)).mean_s
    decode_s = latency.predict(plan.decode(1)).mean_s
    hop_s = latency.predict(plan.hop(item)).mean_s if plan.lanes > 1 else 0.0
    passes_s = [latency.predict(plan.dit_pass(s, item)).mean_s + hop_s for s in plan.stages]
    # each row takes one of its chunk's steps, so a turn brings rows / steps chunks in and out
    chunks = rows / plan.steps
    loads_s = list(passes_s)
    loads_s[0] += chunks * encode_s
    loads_s[-1] += chunks * decode_s
    ends_s = (encode_s + decode_s) / plan.steps
    return max(loads_s), sum(passes_s) + ends_s
