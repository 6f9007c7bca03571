"""How many bytes does each rank need, for what, and do they fit?"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from streamtwin.core.edges import Edge
from streamtwin.core.errors import ScenarioError
from streamtwin.core.plan import HEADER_BYTES, Plan, Stage
from streamtwin.core.policies.partition import intervals
from streamtwin.core.scenario import Scenario
from streamtwin.core.specs import Resolution, VaeSpec
from streamtwin.core.stages import of_every_rank
from streamtwin.core.vae_layout import Half, decoder_half, encoder_half

MIB = 2**20


def rank_memory(plan: Plan, stage: Stage, sessions: int | None = None) -> dict[str, int]:
    """Bytes that *stage* holds, by purpose; weights include those of its half of the VAE.

    With *sessions* at once, by default all of the scenario's.

    Of a stage whose members share passes: what the leader holds, or a member (`Plan.stage_of`).
    Each has all of the weights and an equal share of keys, values and activations.
    """
    scenario, model, members = plan.scenario, plan.model, plan.members
    tokens, steps, size = scenario.size.tokens, scenario.deployment.steps, plan.itemsize
    rows = plan.max_rows
    blocks, windowed = len(stage.blocks), scenario.deployment.context == "window"
    count = plan.resident if sessions is None else sessions
    shared = rows * scenario.deployment.chunk_latents * tokens // members
    kv = blocks * steps * model.kv_bytes(scenario.deployment.window, tokens, size)
    # a chunk that attends itself alone keeps nothing; its K and V are there for a block at a time
    widths = model.ffn_dim + (6 if windowed else 8) * model.dim
    return {
        "weights": _stage_parameters(plan, stage) * size,
        "kv": kv // members * count * windowed,
        "cross_kv": blocks * model.cross_kv_bytes(size) * _prompts_held(scenario, count),
        "activations": shared * widths * size * bool(blocks),
        "vae": vae_cache_bytes(plan.vae, scenario.size, stage, size) * count,
        "communication": _communication_bytes(plan, stage) + _exchange_bytes(plan, stage, shared),
    }


def _exchange_bytes(plan: Plan, stage: Stage, tokens: int) -> int:
    """Bytes of what a member sends and receives in a pass of *tokens* tokens of its own.

    Ulysses: queries, keys and values. Ring: the queries that travel, and a part of the result a
    member. The leader also holds the shares that it collects, and what they are joined to.
    """
    if plan.members == 1 or stage.vae_only or not stage.blocks:
        return 0
    parts = 3 if plan.scenario.deployment.parallelism == "ulysses" else 1 + plan.members
    leads = any(stage.rank == one.rank for one in plan.stages)
    return 2 * (parts + plan.members * leads) * tokens * plan.model.dim * plan.itemsize


def _prompts_held(scenario: Scenario, sessions: int) -> int:
    """Prompts of *sessions* that are held at once: two where one gives way to another.

    Of some of the scenario's sessions, those that hold most.
    """
    each = (
        1 + (len(scenario.prompts_after(one, 0)) > 1) for one in range(scenario.workload.sessions)
    )
    held = sorted(each, reverse=True)
    return sum(held[:sessions]) + max(held) * max(0, sessions - len(held))


def most_memory(plan: Plan, stages: Iterable[Stage], sessions: int | None = None) -> dict[str, int]:
    """Bytes by purpose that a rank has held at most, when it was each of *stages* in turn."""
    held = [rank_memory(plan, stage, sessions) for stage in stages]
    return {purpose: max(memory[purpose] for memory in held) for purpose in held[0]}


def _communication_bytes(plan: Plan, stage: Stage) -> int:
    """One item being received (posted ahead: two), and as many being sent as each link may hold."""
    received, edges = 1 + plan.scenario.deployment.overlaps, plan.outward(stage.rank)
    into = plan.inward(stage.rank)
    sent_bytes = sum(_fullest_bytes(plan, edge) * edge.depth for edge in edges)
    return sent_bytes + (0 if into is None else _fullest_bytes(plan, into) * received)


def _fullest_bytes(plan: Plan, edge: Edge) -> int:
    frames = plan.fullest_frames(edge)
    return HEADER_BYTES + frames * plan.frame_bytes(edge.activations)


def _stage_parameters(plan: Plan, stage: Stage) -> int:
    """Parameters of the stage: its half of the VAE, blocks, what these share, and its ends."""
    model, vae = plan.model, sum(half.parameters for half in _halves(plan.vae, stage))
    if stage.vae_only:
        return vae
    d, cells = model.dim, model.latent_channels * model.patch**2
    patch_embedding, head = cells * d + d, d * cells + cells + 2 * d
    blocks = model.blocks * model.block_parameters
    embeddings = model.parameters - blocks - patch_embedding - head
    ends = patch_embedding * stage.first + head * stage.last
    held = len(stage.blocks)
    if plan.scenario.deployment.weights == "replicated":
        held, ends = model.blocks, patch_embedding + head
    return vae + held * model.block_parameters + embeddings + ends


def vae_cache_bytes(vae: VaeSpec, size: Resolution, stage: Stage, itemsize: int) -> int:
    """Bytes of what *stage*'s halves of the VAE carry of one stream, once its first chunk is in."""
    cells = sum(
        conv.state_channels * (size.height // conv.scale) * (size.width // conv.scale)
        for half in _halves(vae, stage)
        for conv in half.convs
    )
    return cells * itemsize


def _halves(vae: VaeSpec, stage: Stage) -> list[Half]:
    """The halves of the VAE that *stage* holds."""
    return [encoder_half(vae)] * stage.encodes + [decoder_half(vae)] * stage.decodes


def with_room(plan: Plan, capacity_bytes: float | Sequence[float]) -> Plan:
    """*plan* with the blocks that *capacity_bytes* a rank have room for, if blocks may move.

    One number for all ranks, or one for each.
    """
    if plan.scenario.deployment.partition.trigger == "never":
        return plan
    if isinstance(capacity_bytes, int | float):
        capacity_bytes = (capacity_bytes,) * plan.ranks
    each = tuple(capacity_bytes)
    room = (_room(plan, stage, each[stage.rank]) for stage in plan.stages if not stage.vae_only)
    return replace(plan, room=tuple(room))


def _room(plan: Plan, stage: Stage, capacity_bytes: float) -> int:
    """Most blocks that *stage* could hold; it holds those that it has in any case."""
    held = len(stage.blocks)
    now, more = (
        sum(rank_memory(plan, replace(stage, blocks=range(count))).values())
        for count in (held, held + 1)
    )
    return held + max(0, int((capacity_bytes - now) // (more - now)))


def _in_turn(plan: Plan, stage: Stage) -> list[Stage]:
    """*stage* as it begins and as the scenario's schedule has it later, moves in between.

    What a rank gives it keeps until it has been taken, so during a move it holds both.
    """
    deployment = plan.scenario.deployment
    planned = [
        of_every_rank(c, deployment) for _, c in sorted(deployment.partition.schedule.items())
    ]
    parts = [stage.blocks, *(intervals(counts)[stage.rank] for counts in planned)]
    both = (set(old) | set(new) for old, new in pairwise(parts))
    # only how many matters, so any interval stands for a set
    return [stage, *(replace(stage, blocks=range(len(blocks))) for blocks in both)]


def check_memory(plan: Plan, capacity_bytes: float, device: str) -> None:
    """Refuse a plan that does not fit into *capacity_bytes* a rank.

    Raises:
        ScenarioError: names the fullest rank, what it needs, by purpose, and what it has.
    """
    for stage in plan.stages:  # of its members, the leader needs most
        memory = most_memory(plan, _in_turn(plan, stage))
        need = sum(memory.values())
        if need > capacity_bytes:
            parts = ", ".join(f"{name} {value / MIB:,.0f}" for name, value in memory.items())
            raise ScenarioError(
                f"rank {stage.rank} needs {need / MIB:,.0f} MiB ({parts}), {device} has "
                f"{capacity_bytes / MIB:,.0f} MiB: use more ranks, fewer steps, a smaller window "
                "or a smaller model"
            )
