"""How do pixel frames become latents and latents become frames, one chunk of a stream at a time?

Wan 2.1's causal 3D VAE. Its strides are 4 x 8 x 8, and a stream's first frame is a latent of its
own: 1 + 4n frames and 1 + n latents to begin with, then 4n and n. A stream is processed in those
groups whatever the size of a call, so streaming gives bit for bit what one long call gives.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from streamtwin.core.specs import TIME_STRIDE, VaeSpec
from streamtwin.kernels.seeding import materialise
from streamtwin.kernels.taehv import TaehvDecoder
from streamtwin.kernels.vae_layers import (
    CausalConv3d,
    Chain,
    Downsample,
    ResidualBlock,
    Upsample,
    VaeState,
    check_latents,
    middle,
    number_slots,
    out_head,
)

LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
"""Mean of each latent channel over the training videos (published with the Wan 2.1 VAE)."""

LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip
"""Standard deviation of each latent channel (published with the Wan 2.1 VAE)."""


class Encoder3d(nn.Module):
    """Pixels to latent moments, without the last 1x1x1 convolution."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        widths = [spec.base_channels * m for m in (1, *spec.multipliers)]
        self.conv1 = CausalConv3d(3, widths[0], 3, 3)
        layers: list[nn.Module] = []
        for level, (width, out) in enumerate(pairwise(widths)):
            inputs = [width] + [out] * (spec.encoder_res_blocks - 1)
            layers += [ResidualBlock(channels, out) for channels in inputs]
            if level < len(spec.temporal_down):
                layers.append(Downsample(out, time=spec.temporal_down[level]))
        self.downsamples = Chain(*layers)
        self.middle = middle(widths[-1])
        self.head = out_head(widths[-1], 2 * spec.latent_channels)

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """One group of frames [T, 3, H, W] -> [T', 2C, h, w]."""
        x = self.middle(self.downsamples(self.conv1(x, state), state), state)
        y: Tensor = self.head(x, state)
        return y


class Decoder3d(nn.Module):
    """Latents to pixels, without the first 1x1x1 convolution."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        multipliers = spec.multipliers[::-1]
        widths = [spec.base_channels * m for m in (multipliers[0], *multipliers)]
        up = spec.temporal_down[::-1]
        self.conv1 = CausalConv3d(spec.latent_channels, widths[0], 3, 3)
        self.middle = middle(widths[0])
        layers: list[nn.Module] = []
        for level, (width, out) in enumerate(pairwise(widths)):
            # The upsampling before this level has halved the channels.
            first = width // 2 if level else width
            inputs = [first] + [out] * (spec.decoder_res_blocks - 1)
            layers += [ResidualBlock(channels, out) for channels in inputs]
            if level < len(up):
                layers.append(Upsample(out, time=up[level]))
        self.upsamples = Chain(*layers)
        self.head = out_head(widths[-1], 3)

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """One latent [1, C, h, w] -> frames [1 or 4, 3, H, W]."""
        x = self.upsamples(self.middle(self.conv1(x, state), state), state)
        y: Tensor = self.head(x, state)
        return y


class VaeEncoder(nn.Module):
    """Encodes streams of frames; any number of streams, each with a state of its own."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder3d(spec)
        self.conv1 = CausalConv3d(2 * spec.latent_channels, 2 * spec.latent_channels, 1, 1)
        self._slots = number_slots(self.encoder)

    def new_state(self) -> VaeState:
        """State of a stream that has not begun."""
        return VaeState([None] * self._slots)

    def encode(self, frames: Tensor, state: VaeState) -> Tensor:
        """Frames [3, T, H, W] in [-1, 1] -> latent means [T', C, h, w], not normalised.

        Raises:
            ValueError: T is not 1 + 4n on a stream's first call, or 4n on a later one.
        """
        groups = list(_frame_groups(frames.shape[1], state))
        x = frames.transpose(0, 1).to(self.conv1.weight.dtype)
        latents = []
        for group in groups:
            clip = x[group].contiguous(memory_format=torch.channels_last)
            moments = self.conv1(self.encoder(clip, state), state)
            latents.append(moments[:, : self.spec.latent_channels])
            state.started = True
        return torch.cat(latents).contiguous()


class VaeDecoder(nn.Module):
    """Decodes streams of latents; any number of streams, each with a state of its own.

    It scales its input by the published mean and deviation although the encoder leaves its
    output unscaled: that is how the reference system uses this VAE.
    """

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv2 = CausalConv3d(spec.latent_channels, spec.latent_channels, 1, 1)
        self.decoder = Decoder3d(spec)
        self._slots = number_slots(self.decoder)

    def new_state(self) -> VaeState:
        """State of a stream that has not begun."""
        return VaeState([None] * self._slots)

    def decode(self, latents: Tensor, state: VaeState) -> Tensor:
        """Latents [T', C, h, w] -> frames [3, T, H, W], float32 in [-1, 1].

        A stream's first latent gives 1 frame, each later one 4.

        Raises:
            ValueError: there is no latent, or its channels are not the VAE's.
        """
        check_latents(latents, self.spec)
        scaled = self._scale(latents).contiguous(memory_format=torch.channels_last)
        frames = []
        for latent in scaled.unbind():
            frames.append(self.decoder(self.conv2(latent[None], state), state))
            state.started = True
        return torch.cat(frames).float().clamp_(-1, 1).transpose(0, 1).contiguous()

    def _scale(self, latents: Tensor) -> Tensor:
        latents = latents.to(self.conv2.weight.dtype)
        if latents.shape[1] != len(LATENT_MEAN):
            return latents
        # Channel by channel with host numbers: a tensor of constants would have to be copied to
        # the device in every call, or live on the module and move with its dtype.
        pairs = zip(latents.unbind(1), LATENT_STD, LATENT_MEAN, strict=True)
        return torch.stack([z * std + mean for z, std, mean in pairs], dim=1)


class StreamVae(nn.Module):
    """Both halves under the checkpoint's names: encoder, conv1, conv2, decoder."""

    def __init__(self, encoder: VaeEncoder, decoder: VaeDecoder) -> None:
        super().__init__()
        self.encoder, self.conv1 = encoder.encoder, encoder.conv1
        self.conv2, self.decoder = decoder.conv2, decoder.decoder


def _frame_groups(frames: int, state: VaeState) -> Iterator[slice]:
    """Slices of a call's frames that go through together: the first frame alone, then fours."""
    first = 0 if state.started else 1
    if frames < 1 or (frames - first) % TIME_STRIDE:
        legal = "a multiple of 4" if state.started else "1 + 4n frames (1, 5, 9, ...)"
        when = "a later call" if state.started else "a stream's first call"
        raise ValueError(f"{frames} frames in {when}: it takes {legal}")
    if first:
        yield slice(0, 1)
    for start in range(first, frames, TIME_STRIDE):
        yield slice(start, start + TIME_STRIDE)


def build_encoder(
    spec: VaeSpec,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VaeEncoder:
    """An encoder with random weights that *seed* and the parameters' names fix."""
    with torch.device("meta"):
        encoder = VaeEncoder(spec)
    materialise(encoder, seed=seed, device=device, dtype=dtype)
    return encoder


def build_decoder(
    spec: VaeSpec,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VaeDecoder | TaehvDecoder:
    """The decoder that *spec* chooses, with random weights that *seed* and their names fix."""
    with torch.device("meta"):
        decoder = TaehvDecoder(spec) if spec.decoder == "taehv" else VaeDecoder(spec)
    materialise(decoder, seed=seed, device=device, dtype=dtype)
    return decoder
