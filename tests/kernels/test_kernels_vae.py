"""The Stream-VAE: the same however a stream is cut, and apart from other streams."""

import pytest
import torch
import torch.nn.functional as F
from kernel_cases import decoder, encoder, error

from streamtwin.core.specs import VaeSpec
from streamtwin.kernels.vae import build_decoder
from streamtwin.kernels.vae_layers import CausalConv3d

SPEC = VaeSpec("small", base_channels=4)


def video(frames, size, seed=0):
    return torch.rand(3, frames, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def normal_latents(count, size, seed=0):
    shape = (count, 16, size[0] // 8, size[1] // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def streamed(step, state, pieces):
    return [step(piece, state) for piece in pieces]


@pytest.mark.parametrize("cuts", [[1, 4, 8, 4], [5, 12], [9, 4, 4], [1, 4, 4, 4, 4]])
def test_encoding_does_not_depend_on_the_cuts(cuts):
    clip = video(17, (32, 32))
    whole = encoder.encode(clip, encoder.new_state())
    parts = streamed(encoder.encode, encoder.new_state(), clip.split(cuts, dim=1))
    assert [len(part) for part in parts] == [(n + 3) // 4 for n in cuts]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("cuts", [[1, 1, 1, 2], [2, 3], [4, 1]])
def test_decoding_does_not_depend_on_the_cuts(cuts):
    latents = normal_latents(5, (32, 32))
    whole = decoder.decode(latents, decoder.new_state())
    parts = streamed(decoder.decode, decoder.new_state(), latents.split(cuts))
    assert [p.shape[1] for p in parts] == [4 * n - 3 * (i == 0) for i, n in enumerate(cuts)]
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_streams_share_weights_and_nothing_else():
    a, b = video(9, (32, 32), 1), video(9, (32, 32), 2)
    expected = [encoder.encode(clip, encoder.new_state()) for clip in (a, b)]
    states = [encoder.new_state(), encoder.new_state()]
    parts = [[], []]
    for piece in (slice(0, 5), slice(5, 9)):
        for i, clip in enumerate((a, b)):
            parts[i].append(encoder.encode(clip[:, piece], states[i]))
    assert all(torch.equal(torch.cat(p), e) for p, e in zip(parts, expected, strict=True))
    frames = [decoder.decode(z, decoder.new_state()) for z in expected]
    states = [decoder.new_state(), decoder.new_state()]
    parts = [[], []]
    for latent in range(3):
        for i, z in enumerate(expected):
            parts[i].append(decoder.decode(z[latent : latent + 1], states[i]))
    assert all(torch.equal(torch.cat(p, 1), f) for p, f in zip(parts, frames, strict=True))


def test_no_frame_depends_on_the_future():
    clip = video(13, (32, 32))
    changed = clip.clone()
    changed[:, 9:] = 0
    before = encoder.encode(clip, encoder.new_state())
    after = encoder.encode(changed, encoder.new_state())
    assert torch.equal(before[:3], after[:3])
    assert not torch.equal(before[3], after[3])
    old = decoder.decode(before, decoder.new_state())
    new = decoder.decode(after, decoder.new_state())
    assert torch.equal(old[:, :9], new[:, :9])
    assert not torch.equal(old[:, 9:], new[:, 9:])


def test_every_call_matters_to_the_next():
    clip = video(9, (32, 32))
    state = encoder.new_state()
    encoder.encode(clip[:, :5], state)
    fresh = encoder.new_state()
    encoder.encode(clip[:, :1], fresh)
    assert not torch.equal(encoder.encode(clip[:, 5:], state), encoder.encode(clip[:, 5:], fresh))


@pytest.mark.parametrize("frames", [0, 2, 4, 8])
def test_first_call_refuses_other_counts(frames):
    with pytest.raises(ValueError, match=r"1 \+ 4n"):
        encoder.encode(video(frames, (32, 32)), encoder.new_state())


@pytest.mark.parametrize("frames", [0, 1, 5, 6])
def test_later_calls_refuse_other_counts(frames):
    state = encoder.new_state()
    encoder.encode(video(1, (32, 32)), state)
    with pytest.raises(ValueError, match="multiple of 4"):
        encoder.encode(video(frames, (32, 32)), state)


@pytest.mark.parametrize("shape", [(0, 16, 4, 4), (1, 8, 4, 4)])
def test_decoder_refuses_other_latents(shape):
    with pytest.raises(ValueError, match="16 channels"):
        decoder.decode(torch.zeros(shape), decoder.new_state())


def test_state_stops_growing():
    for step, state, first, later in (
        (encoder.encode, encoder.new_state(), video(5, (32, 32)), video(4, (32, 32))),
        (decoder.decode, decoder.new_state(), *[normal_latents(n, (32, 32)) for n in (2, 1)]),
    ):
        assert state.size_bytes == 0
        step(first, state)
        size = state.size_bytes
        storage = sum(kept.untyped_storage().nbytes() for kept in state.features)
        step(later, state)
        assert state.size_bytes == size == storage > 0


def test_other_widths_leave_latents_unscaled():
    spec = VaeSpec("narrow", base_channels=4, latent_channels=4)
    narrow = build_decoder(spec, seed=0)
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(narrow._scale(latents), latents)


def test_frames_are_clamped():
    loud = build_decoder(SPEC, seed=1)
    loud.decoder.head[2].bias.add_(10)
    frames = loud.decode(normal_latents(2, (32, 32)), loud.new_state())
    assert torch.equal(frames, torch.ones_like(frames))


def test_bfloat16_stays_close_and_comes_out_as_float32():
    half, full = (build_decoder(SPEC, seed=1, dtype=t) for t in (torch.bfloat16, torch.float32))
    latents = normal_latents(3, (32, 32))
    a, b = (d.decode(latents, d.new_state()) for d in (half, full))
    assert a.dtype == b.dtype == torch.float32
    assert float((a - b).pow(2).mean().sqrt()) < 0.05


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_folded_convolution_equals_the_3d_one(stride, kernel):
    torch.manual_seed(0)
    conv = CausalConv3d(5, 7, 3, kernel, stride)
    for parameter in conv.parameters():
        parameter.data.normal_()
    frames = torch.randn(6 if stride == 1 else 5, 5, 8, 6)
    with torch.no_grad():
        pad = kernel // 2
        clip = frames.transpose(0, 1)[None]
        expected = F.conv3d(clip, conv.weight, conv.bias, (stride, 1, 1), (0, pad, pad))
        assert error(conv.convolve(frames), expected[0].transpose(0, 1)) < 1e-5
        assert error(conv._convolve_clip(frames), expected[0].transpose(0, 1)) < 1e-5
