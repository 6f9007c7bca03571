"""Of which services does a pass consist that the members of a stage share?

What one member computes, and what all of them exchange meanwhile, in the order of
`kernels.shared_pass` and `kernels.sequence`. One rank alone exchanges nothing.
"""

from math import ceil

from streamtwin.core.latency import LatencyModel
from streamtwin.core.ops import Collective, DitPass, Exchange, Op
from streamtwin.core.plan import HEADER_BYTES, Plan
from streamtwin.core.policies.sink import COMPARES_FRAMES

QKV = 3
"""Queries, keys and values change owners together in Ulysses."""

WEIGHT_BYTES = 4
"""A part of Ring's result brings the logarithm of its weight as one float32 a token and head."""

MEAN_BYTES = 4
"""Means over frames, by which sinks are compared, are float32."""


def services(plan: Plan, op: DitPass) -> tuple[tuple[Op, int], ...]:
    """The services of the pass *op* of a stage of *plan*, each with how often it occurs.

    *op* is the whole pass; of a stage of several members it stands for one member's share.
    """
    if plan.members == 1:
        return ((op, 1),)
    blocks = _of_blocks(plan, op)
    exchanges = (*_of_ends(plan, op), *((each, count * op.blocks) for each, count in blocks))
    return (op, 1), *((each, count) for each, count in exchanges if count)


def pass_s(plan: Plan, op: DitPass, latency: LatencyModel) -> float:
    """Predicted seconds of the pass *op* of a stage of *plan*.

    Raises:
        CalibrationError: *latency* cannot answer for one of its services.
    """
    parts = services(plan, op)
    return sum(count * latency.predict(part).mean_s for part, count in parts)


def own_bytes(plan: Plan, op: DitPass) -> int:
    """Bytes of the hidden state of one member's tokens: of each frame S / G."""
    tokens = op.rows * op.chunk_latents * op.tokens // plan.members
    return tokens * plan.model.dim * plan.itemsize


def _of_blocks(plan: Plan, op: DitPass) -> list[tuple[Collective, int]]:
    """What members exchange in each block, around attention.

    Ulysses: queries, keys and values change owners, and the result changes back. Ring: queries
    travel past the other members, then each part of the result goes home, with its weights.
    """
    G, own = plan.members, own_bytes(plan, op)
    if plan.scenario.deployment.parallelism == "ulysses":
        return [(_exchange(plan, "all_to_all", QKV * own), 1), (_exchange(plan, "all_to_all", own), 1)]  # fmt: skip
    weights = own // (plan.model.head_dim * plan.itemsize) * WEIGHT_BYTES
    parts = _exchange(plan, "all_to_all", G * (own + weights))
    return [(_exchange(plan, "ring_shift", own), G - 1), (parts, 1)]


def _of_ends(plan: Plan, op: DitPass) -> list[tuple[Collective, int]]:
    """What the leader tells its members and gets back, and the sinks' means.

    What one sends to all or gets from all takes no longer than what all send to all: each of these
    is taken for a gathering of what a member sends or gets.
    """
    frames = op.rows * op.chunk_latents
    latents = frames * plan.frame_bytes(activations=False)
    brought = ceil(latents / plan.members) if op.embeds else own_bytes(plan, op)
    return [
        (_exchange(plan, "all_gather", HEADER_BYTES), 1),
        (_exchange(plan, "all_gather", brought), 1),
        (_exchange(plan, "all_gather", own_bytes(plan, op)), 1),
        (_exchange(plan, "all_gather", _means_bytes(plan, op.blocks)), op.rows * _compares(plan)),
    ]


def _compares(plan: Plan) -> bool:
    scenario = plan.scenario
    return scenario.conditioning.sink_refresh in COMPARES_FRAMES and scenario.deployment.sink > 0


def _means_bytes(plan: Plan, blocks: int) -> int:
    """Means of K and V of every sink and of the newest frame, of all blocks: of a member's heads."""
    dim, sink = plan.model.dim, plan.scenario.deployment.sink
    if plan.scenario.deployment.parallelism == "ulysses":
        dim //= plan.members
    return blocks * 2 * (sink + 1) * dim * MEAN_BYTES


def _exchange(plan: Plan, exchange: Exchange, size_bytes: int) -> Collective:
    return Collective(exchange, plan.members, size_bytes)
