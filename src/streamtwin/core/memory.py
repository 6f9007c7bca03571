"""How many bytes does each rank need, for what, and do they fit?"""

from collections.abc import Iterable

from streamtwin.core.errors import ScenarioError
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.specs import SPACE_STRIDE, Resolution, VaeSpec

MIB = 2**20


def rank_memory(plan: Plan, stage: Stage) -> dict[str, int]:
    """Bytes that *stage* holds, by purpose. VAE caches count the inputs of causal convolutions."""
    scenario, model = plan.scenario, plan.model
    tokens, steps, size = scenario.size.tokens, scenario.deployment.steps, plan.itemsize
    rows = plan.max_rows
    blocks = len(stage.blocks)
    queries = scenario.deployment.chunk_latents * tokens
    kv = blocks * steps * model.kv_bytes(scenario.deployment.window, tokens, size)
    memory = {
        "weights": _stage_parameters(plan, stage) * size,
        "kv": kv * scenario.workload.sessions,
        "cross_kv": blocks * model.cross_kv_bytes(size) * scenario.workload.sessions,
        "activations": rows * queries * (model.ffn_dim + 6 * model.dim) * size,
        "vae": 0,
        "communication": 0,
    }
    if stage.first or stage.last:
        memory["vae"] = vae_cache_bytes(plan.vae, scenario.size, stage, size)
    if plan.ranks > 1:
        # one item being received and one being sent
        memory["communication"] = 2 * rows * plan.row_bytes(1)
    return memory


def most_memory(plan: Plan, stages: Iterable[Stage]) -> dict[str, int]:
    """Bytes by purpose that a rank has held at most, when it was each of *stages* in turn."""
    held = [rank_memory(plan, stage) for stage in stages]
    return {purpose: max(memory[purpose] for memory in held) for purpose in held[0]}


def _stage_parameters(plan: Plan, stage: Stage) -> int:
    """Parameters of the stage: its blocks, the embeddings every stage needs, and its ends."""
    model = plan.model
    d, cells = model.dim, model.latent_channels * model.patch**2
    patch_embedding, head = cells * d + d, d * cells + cells + 2 * d
    blocks = model.blocks * model.block_parameters
    embeddings = model.parameters - blocks - patch_embedding - head
    ends = patch_embedding * stage.first + head * stage.last
    return len(stage.blocks) * model.block_parameters + embeddings + ends


def vae_cache_bytes(vae: VaeSpec, size: Resolution, stage: Stage, itemsize: int) -> int:
    """Bytes of the feature caches: two frames of input for each causal 3x3x3 convolution."""
    total = 0
    if stage.first:
        total += _cache_bytes(vae, size, vae.encoder_res_blocks, itemsize)
    if stage.last:
        total += _cache_bytes(vae, size, vae.decoder_res_blocks, itemsize)
    return total


def _cache_bytes(vae: VaeSpec, size: Resolution, res_blocks: int, itemsize: int) -> int:
    cells = 0
    for level, multiplier in enumerate(vae.multipliers):
        scale = min(2**level, SPACE_STRIDE)
        plane = (size.height // scale) * (size.width // scale)
        cells += 2 * 2 * res_blocks * plane * vae.base_channels * multiplier
    return cells * itemsize


def check_memory(plan: Plan, capacity_bytes: float, device: str) -> None:
    """Refuse a plan that does not fit into *capacity_bytes* a rank.

    Raises:
        ScenarioError: names the fullest rank, what it needs, by purpose, and what it has.
    """
    for stage in plan.stages:
        memory = most_memory(plan, plan.states_of(stage))
        need = sum(memory.values())
        if need > capacity_bytes:
            parts = ", ".join(f"{name} {value / MIB:,.0f}" for name, value in memory.items())
            raise ScenarioError(
                f"rank {stage.rank} needs {need / MIB:,.0f} MiB ({parts}), {device} has "
                f"{capacity_bytes / MIB:,.0f} MiB: use more ranks, fewer steps, a smaller window "
                "or a smaller model"
            )
