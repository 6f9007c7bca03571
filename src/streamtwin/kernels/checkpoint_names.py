"""Under which names do the published checkpoint layouts keep a parameter of ours?

Our modules carry the original Wan 2.1 names. A layout is a function from such a name to its own.
The diffusers names are those of the modules of its `WanTransformer3DModel` and `AutoencoderKLWan`.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from streamtwin.core.specs import VaeSpec

Part = Literal["dit", "vae", "taehv"]
Layout = Callable[[str], str]

_DIT_OUTSIDE = {
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
}

_DIT_BLOCK = {
    "modulation": "scale_shift_table",
    "self_attn": "attn1",
    "cross_attn": "attn2",
    # diffusers counts the norm before the cross-attention as the second, Wan as the third
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}

_DIT_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}

_VAE_OUTSIDE = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    "encoder.conv1": "encoder.conv_in",
    "encoder.head.0": "encoder.norm_out",
    "encoder.head.2": "encoder.conv_out",
    "decoder.conv1": "decoder.conv_in",
    "decoder.head.0": "decoder.norm_out",
    "decoder.head.2": "decoder.conv_out",
}

_VAE_RESIDUAL = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}

_VAE_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}


def dit_layouts() -> dict[str, Layout]:
    """Layouts of a DiT by what they are called in messages."""
    return {
        "Wan": lambda name: name,
        "Wan under 'model.'": lambda name: f"model.{name}",
        "diffusers": _diffusers_dit,
    }


def vae_layouts(spec: VaeSpec) -> dict[str, Layout]:
    """Layouts of a VAE by what they are called in messages."""
    return {
        "Wan": lambda name: name,
        "Wan under 'model.'": lambda name: f"model.{name}",
        "diffusers": partial(_diffusers_vae, stride=spec.decoder_res_blocks + 1),
    }


def _diffusers_dit(name: str) -> str:
    block = re.fullmatch(r"(blocks\.\d+)\.(.+)", name)
    if block is None:
        return _swap(name, _DIT_OUTSIDE)
    inside = _swap(block[2], _DIT_BLOCK)
    attention = re.fullmatch(r"(attn\d)\.(.+)", inside)
    if attention is not None:
        inside = f"{attention[1]}.{_swap(attention[2], _DIT_ATTENTION)}"
    return f"{block[1]}.{inside}"


def _diffusers_vae(name: str, stride: int) -> str:
    """*stride*: layers of a level of the decoder, its upsampling included."""
    layer = re.fullmatch(r"(encoder|decoder)\.(downsamples|middle|upsamples)\.(\d+)\.(.+)", name)
    if layer is None:
        return _swap(name, _VAE_OUTSIDE)
    half, group, index, inside = layer.groups()
    inside = _swap(inside, _VAE_RESIDUAL)
    if group == "downsamples":
        return f"{half}.down_blocks.{index}.{inside}"
    if group == "middle":
        return f"{half}.mid_block.{_VAE_MIDDLE[index]}.{inside}"
    level, place = divmod(int(index), stride)
    slot = f"resnets.{place}" if place < stride - 1 else "upsamplers.0"
    return f"{half}.up_blocks.{level}.{slot}.{inside}"


def _swap(name: str, table: Mapping[str, str]) -> str:
    """*name* with its longest leading part that *table* knows replaced."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        head = ".".join(parts[:length])
        if head in table:
            return ".".join([table[head], *parts[length:]])
    return name
