"""What does one row of a model compute, hold and send at a resolution?"""

from dataclasses import dataclass

from streamtwin.core.specs import ModelSpec, Resolution

WINDOW = 6
"""Latent frames of K and V in the reference configuration."""

ITEMSIZE = 2
"""Bytes of a bfloat16 number, in which models run on cards."""


@dataclass(frozen=True, slots=True)
class RowCosts:
    """Of one row of one latent frame in a steady stream; FLOPs and bytes.

    `block_` figures are of one block; `hop_bytes` of what passes between two stages: the hidden
    state and the row's latents.
    """

    model: str
    height: int
    width: int
    tokens: int
    attended_tokens: int
    block_flops: float
    attention_flops: float
    flops: float
    block_weight_bytes: int
    weight_bytes: int
    block_kv_bytes: int
    kv_bytes: int
    block_cross_kv_bytes: int
    activation_bytes: int
    hop_bytes: int


def row_costs(
    model: ModelSpec, size: Resolution, window: int = WINDOW, itemsize: int = ITEMSIZE
) -> RowCosts:
    """What a row of *model* costs at *size*, attending *window* latent frames.

    `attention_flops` are those of a block's self-attention, 4 Lq K d.
    """
    tokens, attended = size.tokens, window * size.tokens
    block_flops = model.block_flops(tokens, attended)
    block_kv_bytes = model.kv_bytes(window, tokens, itemsize)
    activation_bytes = tokens * model.dim * itemsize
    return RowCosts(
        model=model.name,
        height=size.height,
        width=size.width,
        tokens=tokens,
        attended_tokens=attended,
        block_flops=block_flops,
        attention_flops=block_flops - model.block_flops(tokens, 0),
        flops=model.blocks * block_flops,
        block_weight_bytes=model.block_parameters * itemsize,
        weight_bytes=model.parameters * itemsize,
        block_kv_bytes=block_kv_bytes,
        kv_bytes=model.blocks * block_kv_bytes,
        block_cross_kv_bytes=model.cross_kv_bytes(itemsize),
        activation_bytes=activation_bytes,
        hop_bytes=activation_bytes + size.latent_bytes(model.latent_channels, itemsize),
    )
