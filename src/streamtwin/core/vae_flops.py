"""How much arithmetic is encoding and decoding?

Counts multiplications and additions of convolutions and of the attention's two products, 2 a
multiply-add; norms, activations and resampling are left out, as in the reference's figures.
"""

from streamtwin.core.specs import Resolution, VaeSpec
from streamtwin.core.vae_layout import Half, decoder_half, encoder_half


def encode_flops(vae: VaeSpec, size: Resolution, latents: int) -> float:
    """FLOPs of encoding 4 * *latents* frames of *size* in the midst of a stream."""
    return latents * _flops(encoder_half(vae), size)


def decode_flops(vae: VaeSpec, size: Resolution, latents: int) -> float:
    """FLOPs of decoding *latents* latents to 4 frames each in the midst of a stream."""
    return latents * _flops(decoder_half(vae), size)


def _flops(half: Half, size: Resolution) -> float:
    """FLOPs of one latent: 2 kt ks^2 Cin Cout a position, and 4 L^2 C of attention."""
    convolved = sum(
        2 * conv.weights * conv.frames * (size.height // conv.scale) * (size.width // conv.scale)
        for conv in half.convs
    )
    rows, columns = size.latent
    return float(convolved + 4 * (rows * columns) ** 2 * half.attention)
