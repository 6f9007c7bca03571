"""Parameter counts, checkpoint names, and weights that do not depend on the partition."""

from itertools import pairwise

import pytest
import torch
from kernel_cases import make_stage

from streamtwin.core.specs import ModelSpec, Resolution, VaeSpec
from streamtwin.core.vae_parameters import decoder_parameters, encoder_parameters
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.vae import StreamVae, VaeDecoder, VaeEncoder, build_decoder, build_encoder

WAN_1_3B = ModelSpec("1.3b", blocks=30, heads=12, ffn_dim=8960)
WAN_14B = ModelSpec("14b", blocks=40, heads=40, ffn_dim=13824)
WAN_VAE = VaeSpec("wan2.1", base_channels=96)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(spec):
    with torch.device("meta"):
        return DiTStage(spec, Resolution(480, 832), range(spec.blocks), embeds=True, heads_out=True)


@pytest.mark.parametrize(
    ("spec", "total", "block"),
    [(WAN_1_3B, 1_418_996_800, 46_440_704), (WAN_14B, 14_288_491_584, 351_394_304)],
    ids=["1.3b", "14b"],
)
def test_dit_has_the_published_size(spec, total, block):
    stage = on_meta(spec)
    assert count(stage) == total == spec.parameters
    assert count(stage.blocks["7"]) == block == spec.block_parameters


def test_vae_has_the_published_size():
    with torch.device("meta"):
        encoder, decoder = VaeEncoder(WAN_VAE), VaeDecoder(WAN_VAE)
        vae = StreamVae(encoder, decoder)
    assert count(encoder) == 53_596_928
    assert count(decoder) == 73_295_603
    assert count(vae) == 126_892_531
    assert count(encoder) == encoder_parameters(WAN_VAE)
    assert count(decoder) == decoder_parameters(WAN_VAE)


def test_a_pass_of_the_largest_model_needs_no_values():
    """On the meta device, which has shapes but no values, any wait for a value would raise."""
    stage = on_meta(WAN_14B).to(torch.bfloat16)
    cache = stage.new_cache(2, Window(6, 3))
    text = stage.read_text(torch.empty(512, 4096, device="meta", dtype=torch.bfloat16))
    x = stage.embed(torch.empty(2, 1, 16, 60, 104, device="meta", dtype=torch.bfloat16))
    steps = torch.empty(2, 1, device="meta")
    x = stage(x, steps, [PassRow(0, 9, 1), PassRow(1, 8, 1)], [cache] * 2, [text] * 2)
    assert stage.unembed(x, steps).shape == (2, 1, 16, 60, 104)
    assert cache.size_bytes == 40 * 2 * WAN_14B.kv_bytes(6, 1560, 2)
    assert text.size_bytes == 40 * WAN_14B.cross_kv_bytes(2)


def test_block_keys_are_the_checkpoint_names():
    stage = make_stage(range(3, 4), embeds=False, heads_out=False)
    attention = [
        *(f"{name}.{part}" for name in "qkvo" for part in ("weight", "bias")),
        "norm_q.weight",
        "norm_k.weight",
    ]
    block = {f"{a}.{name}" for a in ("self_attn", "cross_attn") for name in attention}
    block |= {"modulation", "norm3.weight", "norm3.bias"}
    block |= {f"ffn.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")}
    text, time = ("text_embedding.0", "text_embedding.2"), ("time_embedding.0", "time_embedding.2")
    outside = {
        f"{name}.{part}"
        for name in (*text, *time, "time_projection.1")
        for part in ("weight", "bias")
    }
    assert set(stage.state_dict()) == {f"blocks.3.{name}" for name in block} | outside


def test_end_keys_are_the_checkpoint_names():
    ends = set(make_stage(range(0)).state_dict()) - set(
        make_stage(range(0), embeds=False, heads_out=False).state_dict()
    )
    head = {"head.head.weight", "head.head.bias", "head.modulation"}
    assert ends == {"patch_embedding.weight", "patch_embedding.bias"} | head


def test_vae_keys_are_the_checkpoint_names():
    with torch.device("meta"):
        shapes = {
            name: tuple(value.shape)
            for name, value in StreamVae(VaeEncoder(WAN_VAE), VaeDecoder(WAN_VAE))
            .state_dict()
            .items()
        }
    assert shapes["conv1.weight"] == (32, 32, 1, 1, 1)
    assert shapes["conv2.bias"] == (16,)
    assert shapes["encoder.downsamples.3.shortcut.weight"] == (192, 96, 1, 1, 1)
    assert shapes["encoder.downsamples.5.time_conv.weight"] == (192, 192, 3, 1, 1)
    assert shapes["encoder.downsamples.10.residual.6.weight"] == (384, 384, 3, 3, 3)
    assert shapes["encoder.head.0.gamma"] == (384, 1, 1, 1)
    assert shapes["decoder.middle.1.norm.gamma"] == (384, 1, 1)
    assert shapes["decoder.middle.1.to_qkv.weight"] == (1152, 384, 1, 1)
    assert shapes["decoder.upsamples.3.time_conv.weight"] == (768, 384, 3, 1, 1)
    assert shapes["decoder.upsamples.11.resample.1.weight"] == (96, 192, 3, 3)
    assert shapes["decoder.upsamples.14.residual.0.gamma"] == (96, 1, 1, 1)


@pytest.mark.parametrize("cuts", [(0, 4), (0, 1, 4), (0, 2, 3, 4)])
def test_weights_do_not_depend_on_the_partition(cuts):
    whole = make_stage().state_dict()
    seen = set()
    for start, stop in pairwise(cuts):
        part = make_stage(range(start, stop), embeds=start == 0, heads_out=stop == 4).state_dict()
        assert all(torch.equal(value, whole[name]) for name, value in part.items())
        seen |= set(part)
    assert seen == set(whole)


def test_blocks_and_seeds_differ():
    one, other = make_stage().state_dict(), make_stage(seed=2).state_dict()
    q = "blocks.{}.self_attn.q.weight"
    assert not torch.equal(one[q.format(0)], one[q.format(1)])
    assert not torch.equal(one[q.format(0)], other[q.format(0)])


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
def test_vae_weights_follow_the_seed(build):
    spec = VaeSpec("small", base_channels=4)
    one, same, other = (build(spec, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_built_weights_want_no_gradient():
    stage = make_stage(range(1))
    assert not stage.training
    assert not any(parameter.requires_grad for parameter in stage.parameters())


def test_refuses_blocks_that_the_model_lacks():
    with pytest.raises(ValueError, match=r"interval within 0\.\.4"):
        make_stage(range(3, 5))
