"""One first chunk of our DiT against diffusers' Wan transformer on the same weights."""

import warnings
from dataclasses import replace

import pytest
import torch
from kernel_cases import error

from streamtwin.core.specs import ModelSpec, Resolution
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.dit_layers import sinusoid
from streamtwin.kernels.weights import build_dit

SPEC = ModelSpec("small", blocks=3, heads=3, ffn_dim=160, text_len=10, text_dim=40)

OUTSIDE = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
}
INSIDE = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
} | {
    f"{ours}_attn.{name}": f"{theirs}.{target}"
    for ours, theirs in (("self", "attn1"), ("cross", "attn2"))
    for name, target in (
        *((letter, f"to_{letter}") for letter in "qkv"),
        ("o", "to_out.0"),
        ("norm_q", "norm_q"),
        ("norm_k", "norm_k"),
    )
}


def their_name(name):
    prefix, table = "", OUTSIDE
    if name.startswith("blocks."):
        _, index, name = name.split(".", 2)
        prefix, table = f"blocks.{index}.", INSIDE
    for ours, theirs in table.items():
        if name == ours or name.startswith(ours + "."):
            return prefix + theirs + name[len(ours) :]
    raise KeyError(name)


def independent(spec, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import WanTransformer3DModel  # noqa: PLC0415

    model = WanTransformer3DModel(
        num_attention_heads=spec.heads,
        attention_head_dim=spec.head_dim,
        text_dim=spec.text_dim,
        freq_dim=spec.freq_dim,
        ffn_dim=spec.ffn_dim,
        num_layers=spec.blocks,
    )
    model.load_state_dict({their_name(name): value for name, value in weights.items()})
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("head_dim", [128, 32])
@pytest.mark.parametrize("frames", [1, 3])
def test_first_chunk_equals_diffusers(frames, head_dim):
    spec, resolution = replace(SPEC, head_dim=head_dim), Resolution(64, 96)
    torch.manual_seed(0)
    stage = build_dit(spec, resolution, range(3), embeds=True, heads_out=True, seed=3)
    for name, parameter in stage.named_parameters():
        if "norm" in name:  # built as ones: let every gain matter
            parameter.add_(0.3 * torch.randn(parameter.shape))
    latents = torch.randn(1, frames, spec.latent_channels, *resolution.latent)
    context = torch.randn(1, spec.text_len, spec.text_dim)
    # Each frame its own timestep. Small ones: diffusers computes the wave's angle in float32,
    # whose rounding at 700 alone exceeds the bound; large ones have a test of their own.
    steps = torch.tensor([[3.0, 1.0, 7.0][:frames]])

    cache = stage.new_cache(1, Window(6, 3))
    text = stage.read_text(context)
    x = stage(stage.embed(latents), steps, [PassRow(0, 0, frames)], [cache], [text])
    ours = stage.unembed(x, steps)

    model = independent(spec, stage.state_dict())
    per_token = steps.repeat_interleave(resolution.tokens, dim=1)
    theirs = model(latents.transpose(1, 2), per_token, context).sample.transpose(1, 2)
    assert error(ours, theirs) < 1e-5


def test_sinusoid_is_exact_at_large_timesteps():
    size, t = 16, 700.0
    angles = [t * 10000 ** (-i / 8) for i in range(8)]
    expected = torch.tensor(angles, dtype=torch.float64)
    expected = torch.cat([expected.cos(), expected.sin()])
    torch.testing.assert_close(sinusoid(torch.tensor(t), size), expected, rtol=0, atol=1e-10)
