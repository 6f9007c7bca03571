"""The Stream-VAE in chunks against diffusers' Wan VAE on the whole clip, same weights."""

import re
import warnings

import pytest
import torch
from kernel_cases import decoder, encoder, error

from streamtwin.core.specs import VaeSpec
from streamtwin.kernels.vae import StreamVae

SPEC = VaeSpec("small", base_channels=4)
SIZES = [(32, 48), (48, 16)]


def video(frames, size, seed=0):
    return torch.rand(3, frames, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def normal_latents(count, size, seed=0):
    shape = (count, 16, size[0] // 8, size[1] // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def streamed(step, state, pieces):
    return [step(piece, state) for piece in pieces]


# Names: ours are the original checkpoint's, diffusers has its own.

RENAMES = [
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"coder\.conv1\.", "coder.conv_in."),
    (r"coder\.head\.0\.", "coder.norm_out."),
    (r"coder\.head\.2\.", "coder.conv_out."),
    (r"downsamples\.", "down_blocks."),
    (r"middle\.0\.", "mid_block.resnets.0."),
    (r"middle\.1\.", "mid_block.attentions.0."),
    (r"middle\.2\.", "mid_block.resnets.1."),
    (r"residual\.0\.", "norm1."),
    (r"residual\.2\.", "conv1."),
    (r"residual\.3\.", "norm2."),
    (r"residual\.6\.", "conv2."),
    (r"shortcut\.", "conv_shortcut."),
]


def their_name(name):
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    match = re.match(r"(decoder\.)upsamples\.(\d+)\.(.*)", name)
    if match:
        level, place = divmod(int(match[2]), 4)
        layer = "upsamplers.0" if place == 3 else f"resnets.{place}"
        return f"{match[1]}up_blocks.{level}.{layer}.{match[3]}"
    return name


@pytest.fixture(scope="module")
def independent():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import AutoencoderKLWan  # noqa: PLC0415

    model = AutoencoderKLWan(base_dim=SPEC.base_channels)
    weights = StreamVae(encoder, decoder).state_dict()
    model.load_state_dict({their_name(name): value for name, value in weights.items()})
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunks", [2, 4])
def test_streamed_encoding_equals_diffusers(independent, chunks, size):
    clip = video(5 + 4 * (chunks - 1), size)
    pieces = clip.split([5] + [4] * (chunks - 1), dim=1)
    ours = torch.cat(streamed(encoder.encode, encoder.new_state(), pieces))
    theirs = independent.encode(clip[None]).latent_dist.mean[0].transpose(0, 1)
    assert error(ours, theirs) < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [3, 5])
def test_streamed_decoding_equals_diffusers(independent, count, size):
    latents = normal_latents(count, size)
    pieces = latents.split([2] + [1] * (count - 2))
    ours = torch.cat(streamed(decoder.decode, decoder.new_state(), pieces), dim=1)
    published = independent.config.latents_mean, independent.config.latents_std
    mean, std = (torch.tensor(values)[:, None, None] for values in published)
    scaled = (latents * std + mean).transpose(0, 1)[None]
    theirs = independent.decode(scaled).sample[0]
    assert float(theirs.abs().max()) < 1
    assert ours.shape == theirs.shape
    assert error(ours, theirs) < 1e-5
