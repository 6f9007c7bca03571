"""Which convolutions does a Stream-VAE run, at which scale and how often?

One list per half, from which work, weights and carried state follow. All counts are of a running
stream: per latent, 4 pixel frames go in or come out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from streamtwin.core.specs import SPACE_STRIDE, TIME_STRIDE, VaeSpec

TAEHV_MEM_BLOCKS = 3
"""Memory blocks of each level of the TAEHV decoder."""


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution of kernel (kt, ks, ks).

    It makes `frames` planes a latent, each 1/`scale` of the video's height and width, and keeps
    the `kept` last planes of its `kept_channels`-wide input for the next call.
    """

    channels: int
    out: int
    kt: int
    ks: int
    frames: int
    scale: int
    kept: int = 0
    bias: bool = True
    kept_channels: int | None = None
    """Channels of what is kept, where that is not the whole input."""

    @property
    def weights(self) -> int:
        """Weights without the bias."""
        return self.channels * self.out * self.kt * self.ks**2

    @property
    def state_channels(self) -> int:
        """Channels kept for the next call, over all kept planes."""
        return self.kept * (self.channels if self.kept_channels is None else self.kept_channels)


@dataclass(frozen=True, slots=True)
class Half:
    """An encoder or a decoder: its convolutions, its norms and its attention's width."""

    convs: tuple[Conv, ...]
    gains: int = 0
    """Parameters of all norms."""
    attention: int = 0
    """Channels of the attention over the pixels of one latent; 0: none."""

    @property
    def parameters(self) -> int:
        """Parameters of this half."""
        return self.gains + sum(conv.weights + conv.out * conv.bias for conv in self.convs)


def encoder_half(vae: VaeSpec) -> Half:
    """Wan's encoder, with the 1x1x1 convolution that ends it."""
    widths = [vae.base_channels * m for m in (1, *vae.multipliers)]
    convs, gains = [Conv(3, widths[0], 3, 3, TIME_STRIDE, 1, kept=2)], 0
    frames, scale = TIME_STRIDE, 1
    for level, (width, out) in enumerate(pairwise(widths)):
        for channels in [width] + [out] * (vae.encoder_res_blocks - 1):
            convs += _residual(channels, out, frames, scale)
            gains += channels + out
        if level < len(vae.temporal_down):
            scale *= 2
            convs.append(Conv(out, out, 1, 3, frames, scale))
            if vae.temporal_down[level]:
                frames //= 2
                convs.append(Conv(out, out, 3, 1, frames, scale, kept=1))
    top, ends = widths[-1], 2 * vae.latent_channels
    convs += _middle(top, scale)
    convs += [Conv(top, ends, 3, 3, 1, scale, kept=2), Conv(ends, ends, 1, 1, 1, scale)]
    return Half(tuple(convs), gains + _middle_gains(top) + top, top)


def decoder_half(vae: VaeSpec) -> Half:
    """The decoder that *vae* chooses."""
    return _taehv(vae) if vae.decoder == "taehv" else _wan_decoder(vae)


def _wan_decoder(vae: VaeSpec) -> Half:
    """Wan's decoder, with the 1x1x1 convolution that begins it."""
    multipliers = vae.multipliers[::-1]
    widths = [vae.base_channels * m for m in (multipliers[0], *multipliers)]
    up, scale, frames = vae.temporal_down[::-1], SPACE_STRIDE, 1
    latent, top = vae.latent_channels, widths[0]
    convs = [Conv(latent, latent, 1, 1, 1, scale), Conv(latent, top, 3, 3, 1, scale, kept=2)]
    convs += _middle(top, scale)
    gains = _middle_gains(top) + widths[-1]
    for level, (width, out) in enumerate(pairwise(widths)):
        first = width // 2 if level else width
        for channels in [first] + [out] * (vae.decoder_res_blocks - 1):
            convs += _residual(channels, out, frames, scale)
            gains += channels + out
        if level < len(up):
            if up[level]:
                convs.append(Conv(out, 2 * out, 3, 1, frames, scale, kept=2))
                frames *= 2
            scale //= 2
            convs.append(Conv(out, out // 2, 1, 3, frames, scale))
    convs.append(Conv(widths[-1], 3, 3, 3, frames, scale, kept=2))
    return Half(tuple(convs), gains, top)


def _taehv(vae: VaeSpec) -> Half:
    """The TAEHV decoder: 2D convolutions only, and one plane kept by each memory block."""
    widths, scale, frames = vae.taehv_channels, SPACE_STRIDE, 1
    convs = [Conv(vae.latent_channels, widths[0], 1, 3, frames, scale)]
    for growth, (width, out) in zip((1, 2, 2), pairwise(widths), strict=True):
        for _ in range(TAEHV_MEM_BLOCKS):
            # half of the input is the plane before, which is what is kept
            convs.append(Conv(2 * width, width, 1, 3, frames, scale, kept=1, kept_channels=width))
            convs += [Conv(width, width, 1, 3, frames, scale)] * 2
        scale //= 2
        convs.append(Conv(width, growth * width, 1, 1, frames, scale, bias=False))
        frames *= growth
        convs.append(Conv(width, out, 1, 3, frames, scale, bias=False))
    convs.append(Conv(widths[-1], 3, 1, 3, frames, scale))
    return Half(tuple(convs))


def _residual(channels: int, out: int, frames: int, scale: int) -> Iterator[Conv]:
    yield Conv(channels, out, 3, 3, frames, scale, kept=2)
    yield Conv(out, out, 3, 3, frames, scale, kept=2)
    if channels != out:
        yield Conv(channels, out, 1, 1, frames, scale)


def _middle(channels: int, scale: int) -> list[Conv]:
    """Residual block, attention, residual block at the coarsest scale, once a latent."""
    blocks = [*_residual(channels, channels, 1, scale)] * 2
    attention = [
        Conv(channels, 3 * channels, 1, 1, 1, scale),
        Conv(channels, channels, 1, 1, 1, scale),
    ]
    return blocks + attention


def _middle_gains(channels: int) -> int:
    return 2 * 2 * channels + channels
