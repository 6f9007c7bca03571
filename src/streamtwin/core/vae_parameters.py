"""How many parameters does each half of a VAE have?

Counted from the layers of Wan 2.1's causal 3D VAE, whose total the catalogue states.
"""

from itertools import pairwise

from streamtwin.core.specs import VaeSpec


def encoder_parameters(vae: VaeSpec) -> int:
    """Parameters of the encoding half."""
    widths = [vae.base_channels * m for m in (1, *vae.multipliers)]
    total = _conv(3, widths[0], 27) + _middle(widths[-1])
    for level, (width, out) in enumerate(pairwise(widths)):
        total += _level(width, out, vae.encoder_res_blocks)
        if level < len(vae.temporal_down):
            total += _conv(out, out, 9) + _conv(out, out, 3) * vae.temporal_down[level]
    moments = 2 * vae.latent_channels
    return total + _head(widths[-1], moments) + _conv(moments, moments, 1)


def decoder_parameters(vae: VaeSpec) -> int:
    """Parameters of the decoding half."""
    multipliers, up = vae.multipliers[::-1], vae.temporal_down[::-1]
    widths = [vae.base_channels * m for m in (multipliers[0], *multipliers)]
    total = _conv(vae.latent_channels, vae.latent_channels, 1)
    total += _conv(vae.latent_channels, widths[0], 27) + _middle(widths[0])
    for level, (width, out) in enumerate(pairwise(widths)):
        # the upsampling before has halved the channels
        total += _level(width // 2 if level else width, out, vae.decoder_res_blocks)
        if level < len(up):
            total += _conv(out, out // 2, 9) + _conv(out, 2 * out, 3) * up[level]
    return total + _head(widths[-1], 3)


def _level(channels: int, out: int, blocks: int) -> int:
    return _residual(channels, out) + (blocks - 1) * _residual(out, out)


def _residual(channels: int, out: int) -> int:
    shortcut = _conv(channels, out, 1) if channels != out else 0
    return channels + _conv(channels, out, 27) + out + _conv(out, out, 27) + shortcut


def _middle(channels: int) -> int:
    attention = channels + _conv(channels, 3 * channels, 1) + _conv(channels, channels, 1)
    return 2 * _residual(channels, channels) + attention


def _head(channels: int, out: int) -> int:
    return channels + _conv(channels, out, 27)


def _conv(channels: int, out: int, taps: int) -> int:
    """A convolution of *taps* places, with bias."""
    return taps * channels * out + out
