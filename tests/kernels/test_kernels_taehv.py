"""The TAEHV decoder: a stream in pieces is the whole clip, and apart from other streams."""

import pytest
import torch
import torch.nn.functional as F
from kernel_cases import error, normal

from streamtwin.core import catalog
from streamtwin.core.memory import vae_cache_bytes
from streamtwin.core.plan import Stage
from streamtwin.core.specs import Resolution, VaeSpec
from streamtwin.core.vae_layout import decoder_half, encoder_half
from streamtwin.kernels.taehv import TaehvDecoder
from streamtwin.kernels.vae import VaeDecoder, VaeEncoder, build_decoder

SPEC = VaeSpec("small", base_channels=4, decoder="taehv", taehv_channels=(12, 10, 6, 8))
LAST = Stage(1, range(1), False, True, False, True)
SIZES = [(32, 48), (48, 16)]


def built(dtype=torch.float32):
    """A decoder whose frames lie within 0..1, so that clamping hides nothing."""
    decoder = build_decoder(SPEC, seed=1, dtype=dtype)
    decoder.decoder[22].weight.mul_(0.2)
    decoder.decoder[22].bias.fill_(0.5)
    return decoder


decoder = built()


def some_latents(count, size=(32, 48), seed=0):
    return normal(count, 16, size[0] // 8, size[1] // 8, seed=seed)


def whole_clip(weights, latents):
    """All frames that the published layers make of a clip, [4 T', 3, H, W], layer by layer.

    Written from the layer list alone: each layer sees the whole clip at once, and a memory block
    sees the clip shifted by one frame beside it.
    """

    def conv(x, name, padding=1):
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), padding=padding)

    def remembers(x, name):
        shifted = torch.zeros_like(x)
        shifted[1:] = x[:-1]
        y = F.relu(conv(torch.cat([x, shifted], 1), f"{name}.conv.0"))
        y = F.relu(conv(y, f"{name}.conv.2"))
        return F.relu(conv(y, f"{name}.conv.4") + x)

    def grows(x, name):
        channels = x.shape[1]
        y = conv(x, f"{name}.conv", padding=0)
        parts = y.split(channels, dim=1)
        return torch.stack([part[t] for t in range(len(y)) for part in parts])

    x = F.relu(conv(3 * torch.tanh(latents / 3), "decoder.1"))
    for blocks, grow, after in (((3, 4, 5), 7, 8), ((9, 10, 11), 13, 14), ((15, 16, 17), 19, 20)):
        for block in blocks:
            x = remembers(x, f"decoder.{block}")
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = conv(grows(x, f"decoder.{grow}"), f"decoder.{after}")
    return conv(F.relu(x), "decoder.22")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cuts", [[2, 1, 1, 1], [1, 4], [5], [1, 1, 2, 1]])
def test_a_stream_in_pieces_equals_the_whole_clip(cuts, size):
    latents = some_latents(sum(cuts), size)
    latents[0, 0] *= 20  # far outside of what the soft clamp leaves alone
    state = decoder.new_state()
    ours = torch.cat([decoder.decode(part, state) for part in latents.split(cuts)], dim=1)
    frames = whole_clip(decoder.state_dict(), latents)[3:]
    assert 0 < float(frames.min()) < float(frames.max()) < 1
    assert ours.shape == (3, 4 * sum(cuts) - 3, *size)
    assert float((ours - (2 * frames - 1).transpose(0, 1)).abs().max()) < 1e-6


@pytest.mark.parametrize("cuts", [[1, 1, 1, 2], [2, 3], [4, 1]])
def test_decoding_does_not_depend_on_the_cuts(cuts):
    latents = some_latents(5)
    whole = decoder.decode(latents, decoder.new_state())
    state = decoder.new_state()
    parts = [decoder.decode(part, state) for part in latents.split(cuts)]
    assert [p.shape[1] for p in parts] == [4 * n - 3 * (i == 0) for i, n in enumerate(cuts)]
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_streams_share_weights_and_nothing_else():
    clips = [some_latents(3, seed=seed) for seed in (1, 2)]
    alone = [decoder.decode(clip, decoder.new_state()) for clip in clips]
    states, parts = [decoder.new_state() for _ in clips], [[] for _ in clips]
    for latent in range(3):
        for i, clip in enumerate(clips):
            parts[i].append(decoder.decode(clip[latent : latent + 1], states[i]))
    assert all(torch.equal(torch.cat(p, 1), one) for p, one in zip(parts, alone, strict=True))


def test_no_frame_depends_on_the_future_and_each_on_what_was_before():
    latents = some_latents(4)
    changed = latents.clone()
    changed[2] = 0
    one, other = (decoder.decode(clip, decoder.new_state()) for clip in (latents, changed))
    assert torch.equal(one[:, :5], other[:, :5])
    for frame in range(5, 13):  # of the changed latent, and of the one after it
        assert not torch.equal(one[:, frame], other[:, frame]), frame


def test_what_is_carried_is_counted_and_does_not_grow():
    state = decoder.new_state()
    assert state.size_bytes == 0
    for count in (2, 1, 3):
        decoder.decode(some_latents(count), state)
        assert state.size_bytes == vae_cache_bytes(SPEC, Resolution(32, 48), LAST, 4)
        assert state.size_bytes == sum(kept.untyped_storage().nbytes() for kept in state.features)


@pytest.mark.parametrize("shape", [(0, 16, 4, 4), (1, 8, 4, 4)])
def test_other_latents_are_refused(shape):
    with pytest.raises(ValueError, match="16 channels"):
        decoder.decode(torch.zeros(shape), decoder.new_state())


def test_frames_are_clamped():
    loud = build_decoder(SPEC, seed=1)
    loud.decoder[22].bias.copy_(torch.tensor([10.0, -10.0, 0.5]))
    frames = loud.decode(some_latents(2), loud.new_state())
    assert torch.equal(frames[0], torch.ones_like(frames[0]))
    assert torch.equal(frames[1], -torch.ones_like(frames[1]))
    assert not torch.equal(frames[2], frames[2].round())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_stay_close_and_come_out_as_float32(dtype):
    latents = some_latents(3)
    half = built(dtype)
    a, b = (d.decode(latents, d.new_state()) for d in (half, decoder))
    assert a.dtype == torch.float32
    assert error(a, b) < 0.05


# The published decoder: sizes and names.


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", catalog.names("vaes"))
def test_catalogued_sizes_are_those_of_the_modules(name):
    spec = catalog.vae(name)
    with torch.device("meta"):
        encoder = VaeEncoder(spec)
        half = TaehvDecoder(spec) if spec.decoder == "taehv" else VaeDecoder(spec)
    assert count(encoder) == encoder_half(spec).parameters
    assert count(half) == decoder_half(spec).parameters
    assert spec.parameters in {None, count(encoder) + count(half)}


def test_the_decoder_has_the_published_size():
    with torch.device("meta"):
        assert count(TaehvDecoder(catalog.vae("taehv"))) == 9_844_611
    assert catalog.vae("taehv").parameters == 53_596_928 + 9_844_611


def test_keys_are_the_checkpoint_names():
    with torch.device("meta"):
        state = TaehvDecoder(catalog.vae("taehv")).state_dict()
    convs = {f"{block}.conv.{i}" for block in (3, 4, 5, 9, 10, 11, 15, 16, 17) for i in (0, 2, 4)}
    biased, plain = {"1", "22", *convs}, {"7.conv", "8", "13.conv", "14", "19.conv", "20"}
    expected = {f"decoder.{name}.weight" for name in biased | plain}
    assert set(state) == expected | {f"decoder.{name}.bias" for name in biased}
    shapes = {name.removeprefix("decoder."): tuple(value.shape) for name, value in state.items()}
    assert shapes["1.weight"] == (256, 16, 3, 3)
    assert shapes["3.conv.0.weight"] == (256, 512, 3, 3)
    assert shapes["7.conv.weight"] == (256, 256, 1, 1)
    assert shapes["13.conv.weight"] == (256, 128, 1, 1)
    assert shapes["20.weight"] == (64, 64, 3, 3)
    assert shapes["22.weight"] == (3, 64, 3, 3)


@pytest.mark.parametrize("name", ["wan2.1", "taehv"])
def test_carried_bytes_at_480p_follow_from_the_layout(name):
    """Reference analysis of Wan, bf16: encoder 1.12 GB, decoder 1.89 GB. TAEHV: nine planes."""
    size, spec = Resolution(480, 832), catalog.vae(name)
    first = vae_cache_bytes(spec, size, Stage(0, range(1), True, False, True, False), 2)
    last = vae_cache_bytes(spec, size, LAST, 2)
    cells = 60 * 104
    carried = {"wan2.1": 1.89e9, "taehv": 2 * 3 * cells * (256 + 4 * 128 + 16 * 64)}
    assert first == pytest.approx(1.12e9, rel=0.01)
    assert last == pytest.approx(carried[name], rel=0.01)
