"""How does the small TAEHV decoder turn latents into frames, one chunk of a stream at a time?

A decoder of 2D convolutions whose memory blocks see, beside their input, their input at the frame
before. Those frames are a stream's state, so nothing is ever decoded twice. Layer numbers are
those of the checkpoint taew2_1. Like the published decoder it takes latents as the DiT makes
them, without the mean and deviation by which the Wan decoder scales.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from streamtwin.core.specs import TIME_STRIDE, VaeSpec
from streamtwin.core.vae_layout import TAEHV_MEM_BLOCKS
from streamtwin.kernels.vae_layers import VaeState, check_latents

WARM_UP_FRAMES = TIME_STRIDE - 1
"""Frames of a stream's first latent that come before its first pixel frame and are dropped."""


class SoftClamp(nn.Module):
    """3 tanh(x / 3): latents beyond what the decoder was trained on do no harm."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> same shape."""
        return torch.tanh(x / 3).mul_(3)


class MemBlock(nn.Module):
    """Three convolutions of a frame beside the frame before it, plus the frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """[T, C, H, W] and the frame *before* the first, [1, C, H, W] -> [T, C, H, W]."""
        past = torch.cat([before, x[:-1]])
        y: Tensor = self.conv(torch.cat([x, past], dim=1))
        return y.add_(x).relu_()


class TGrow(nn.Module):
    """A 1x1 convolution to *factor* times the channels, which become as many frames."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(channels, factor * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[T, C, H, W] -> [factor T, C, H, W], the frames of an input frame in their order."""
        T, C, H, W = x.shape
        # A plain reshape would leave the channels-last layout that the next convolution likes.
        grown: Tensor = self.conv(x)
        frames = grown.permute(0, 2, 3, 1).reshape(T, H, W, self.factor, C)
        return frames.permute(0, 3, 1, 2, 4).reshape(-1, H, W, C).permute(0, 3, 1, 2)


class TaehvDecoder(nn.Module):
    """Decodes streams of latents; any number of streams, each with a state of its own."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = spec.taehv_channels
        layers: list[nn.Module] = [
            SoftClamp(),
            nn.Conv2d(spec.latent_channels, widths[0], 3, padding=1),
            nn.ReLU(inplace=True),
        ]
        for factor, (width, out) in zip((1, 2, 2), pairwise(widths), strict=True):
            layers += [MemBlock(width) for _ in range(TAEHV_MEM_BLOCKS)]
            layers += [nn.Upsample(scale_factor=2.0), TGrow(width, factor)]
            layers.append(nn.Conv2d(width, out, 3, padding=1, bias=False))
        layers += [nn.ReLU(inplace=True), nn.Conv2d(widths[-1], 3, 3, padding=1)]
        self.decoder = nn.ModuleList(layers)
        self._slots = sum(isinstance(layer, MemBlock) for layer in layers)

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
        dtype = next(self.parameters()).dtype
        x = latents.to(dtype).contiguous(memory_format=torch.channels_last)
        frames = []
        # One latent at a time whatever the call's size: memory stays bounded, and how a stream
        # is cut into calls cannot change a bit of it.
        for latent in x.unbind():
            group = self._decode_latent(latent[None], state)
            frames.append(group if state.started else group[WARM_UP_FRAMES:])
            state.started = True
        video = torch.cat(frames).float().clamp_(0, 1).mul_(2).sub_(1)
        return video.transpose(0, 1).contiguous()

    def _decode_latent(self, x: Tensor, state: VaeState) -> Tensor:
        """One latent [1, C, h, w] -> 4 frames [4, 3, H, W] in about [0, 1]."""
        slot = 0
        for layer in self.decoder:
            if not isinstance(layer, MemBlock):
                x = layer(x)
                continue
            before = state.features[slot]
            if before is None:
                before = torch.zeros_like(x[:1])
            # A copy: a view would keep all frames of this call alive until the next.
            state.features[slot] = x[-1:].clone(memory_format=torch.channels_last)
            x = layer(x, before)
            slot += 1
        return x
