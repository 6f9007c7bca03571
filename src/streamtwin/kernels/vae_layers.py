"""What do the layers of the Stream-VAE compute, and what does each remember between calls?

Layers of the Wan 2.1 causal 3D VAE with its checkpoint names. Activations are [T, C, H, W] in
channels-last memory, so frames are the batch of every spatial layer and a [1, C, T, H, W] view
of the same memory is what 3D convolutions on a GPU like best. What a stream has seen lives in a
`VaeState`, never on a layer.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamtwin.core.specs import VaeSpec
from streamtwin.kernels.lean import Silu


@dataclass(slots=True)
class VaeState:
    """Feature caches of one stream through one encoder or decoder.

    Attributes:
        features: by causal convolution, its last input frames [2 or 1, C, H, W].
        started: whether the stream's first frame (or latent) has gone through.
    """

    features: list[Tensor | None] = field(default_factory=list)
    started: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of all kept features."""
        return sum(kept.nbytes for kept in self.features if kept is not None)


def check_latents(latents: Tensor, spec: VaeSpec) -> None:
    """Refuse latents that no decoder of *spec* takes.

    Raises:
        ValueError: there is no latent, or its channels are not the VAE's.
    """
    if latents.shape[0] < 1 or latents.shape[1] != spec.latent_channels:
        raise ValueError(
            f"latents have shape {tuple(latents.shape)}: expected at least one of "
            f"{spec.latent_channels} channels, [T', C, h, w]"
        )


class RMSNorm(nn.Module):
    """x / |x| * sqrt(C) * gamma over channels; *axes* trailing ones shape the stored gain."""

    def __init__(self, channels: int, axes: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels, *[1] * axes))

    def forward(self, x: Tensor) -> Tensor:
        """[T, C, H, W] -> same shape."""
        # Wan divides by max(|x|, 1e-12); an epsilon on the mean square is the same off zero.
        gamma = self.gamma.flatten()
        y = torch.rms_norm(x.permute(0, 2, 3, 1), gamma.shape, gamma, 1e-24)
        return y.permute(0, 3, 1, 2)

    __call__ = forward


class CausalConv3d(nn.Module):
    """Convolution over time and space that sees no future; keeps the frames the next call needs.

    Kernel (kt, ks, ks) with kt 1 or 3; spatial padding keeps the size; *stride* acts on time.
    """

    def __init__(self, channels: int, out: int, kt: int, ks: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, channels, kt, ks, ks))
        self.bias = nn.Parameter(torch.empty(out))
        self.stride = stride
        self.keep = kt - stride
        """Input frames of the past that an output needs."""
        self.slot = -1
        """Index into `VaeState.features`; set by `number_slots`."""

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """[T, C, H, W] -> [T / stride, out, H, W]."""
        if self.weight.shape[2] == 1:
            return F.conv2d(x, self.weight[:, :, 0], self.bias)
        past = state.features[self.slot]
        if past is None:
            past = x.new_zeros(self.keep, *x.shape[1:])
        x = torch.cat([past, x])
        # A copy: a view would keep the whole clip alive until the next call.
        state.features[self.slot] = x[-self.keep :].clone(memory_format=torch.channels_last)
        return self.convolve(x)

    __call__ = forward

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve frames that already include the past; no padding along time."""
        if x.device.type == "cpu":
            return self._convolve_folded(x)
        return self._convolve_clip(x)

    def _convolve_clip(self, x: Tensor) -> Tensor:
        pad = self.weight.shape[-1] // 2
        clip = x.transpose(0, 1)[None]
        y = F.conv3d(clip, self.weight, self.bias, (self.stride, 1, 1), (0, pad, pad))
        return y[0].transpose(0, 1)

    def _convolve_folded(self, x: Tensor) -> Tensor:
        # Three frames side by side in the channels make it a 2D convolution, which is about ten
        # times faster on a CPU than a 3D one with few channels.
        s, last = self.stride, x.shape[0] - 2
        folded = torch.cat([x[0:last:s], x[1 : last + 1 : s], x[2 : last + 2 : s]], dim=1)
        weight = self.weight.transpose(1, 2).flatten(1, 2)
        return F.conv2d(folded, weight, self.bias, padding=self.weight.shape[-1] // 2)


def number_slots(module: nn.Module) -> int:
    """Give every remembering convolution of *module* its place in the state; return their count."""
    convs = [m for m in module.modules() if isinstance(m, CausalConv3d) and m.keep > 0]
    for slot, conv in enumerate(convs):
        conv.slot = slot
    return len(convs)


class Chain(nn.ModuleList):
    """Layers in a row; hands the stream's state to those that keep one."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)
        keeping = CausalConv3d | ResidualBlock | Downsample | Upsample
        self.keeps = tuple(isinstance(layer, keeping) for layer in layers)

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """[T, C, H, W] -> whatever the last layer makes of it."""
        for layer, keeps in zip(self._modules.values(), self.keeps, strict=True):
            assert layer is not None
            x = layer(x, state) if keeps else layer(x)
        return x

    __call__ = forward


class ResidualBlock(nn.Module):
    """Norm, SiLU, 3x3x3 convolution, twice, plus the input (through 1x1x1 if widths differ)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.residual = Chain(
            RMSNorm(channels),
            Silu(),
            CausalConv3d(channels, out, 3, 3),
            RMSNorm(out),
            Silu(),
            nn.Identity(),  # dropout in training; keeps the checkpoint's numbering
            CausalConv3d(out, out, 3, 3),
        )
        self.shortcut = CausalConv3d(channels, out, 1, 1) if channels != out else None

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """[T, C, H, W] -> [T, out, H, W]."""
        y: Tensor = self.residual(x, state)
        return y.add_(x if self.shortcut is None else self.shortcut(x, state))

    __call__ = forward


class FrameAttention(nn.Module):
    """Single-head attention over the pixels of each frame, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, axes=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[T, C, H, W] -> same shape."""
        T, C, H, W = x.shape
        qkv = self.to_qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(T, 1, H * W, 3 * C)
        y = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        out: Tensor = self.proj(y.reshape(T, H, W, C).permute(0, 3, 1, 2))
        return out + x


class Downsample(nn.Module):
    """Halve height and width and, with *time*, the frames; a stream's first frame stays single."""

    def __init__(self, channels: int, *, time: bool) -> None:
        super().__init__()
        pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.resample = nn.Sequential(pad, nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = CausalConv3d(channels, channels, 3, 1, stride=2) if time else None

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """[T, C, H, W] -> [T or T/2, C, H/2, W/2]."""
        x = self.resample(x)
        if self.time_conv is None:
            return x
        if not state.started:
            state.features[self.time_conv.slot] = x.clone(memory_format=torch.channels_last)
            return x
        y: Tensor = self.time_conv(x, state)
        return y


class Upsample(nn.Module):
    """Double height and width, halve the channels and, with *time*, double the frames.

    A stream's first latent stays one frame, and the temporal convolution never sees it.
    """

    def __init__(self, channels: int, *, time: bool) -> None:
        super().__init__()
        nearest = nn.Upsample(scale_factor=2.0, mode="nearest-exact")
        self.resample = nn.Sequential(nearest, nn.Conv2d(channels, channels // 2, 3, padding=1))
        self.time_conv = CausalConv3d(channels, 2 * channels, 3, 1) if time else None

    def forward(self, x: Tensor, state: VaeState) -> Tensor:
        """[T, C, H, W] -> [T or 2T, C/2, 2H, 2W]."""
        if self.time_conv is not None and state.started:
            x = self._interleave(self.time_conv(x, state))
        y: Tensor = self.resample(x)
        return y

    @staticmethod
    def _interleave(x: Tensor) -> Tensor:
        """[T, 2C, H, W] -> [2T, C, H, W]: each frame's channel halves become two frames."""
        T, C2, H, W = x.shape
        frames = x.permute(0, 2, 3, 1).view(T, H, W, 2, C2 // 2).permute(0, 3, 1, 2, 4)
        return frames.reshape(2 * T, H, W, C2 // 2).permute(0, 3, 1, 2)


def middle(channels: int) -> Chain:
    """Residual block, attention, residual block at the coarsest scale."""
    return Chain(
        ResidualBlock(channels, channels),
        FrameAttention(channels),
        ResidualBlock(channels, channels),
    )


def out_head(channels: int, out: int) -> Chain:
    """Norm, SiLU and the last convolution."""
    return Chain(RMSNorm(channels), Silu(), CausalConv3d(channels, out, 3, 3))
