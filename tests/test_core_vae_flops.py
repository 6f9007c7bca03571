"""Work of the VAEs: the published figures, and what torch counts on the modules themselves."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from streamtwin.core import catalog
from streamtwin.core.specs import Resolution, VaeSpec
from streamtwin.core.vae_flops import decode_flops, encode_flops
from streamtwin.kernels.vae import build_decoder, build_encoder

WAN = catalog.vae("wan2.1")
P480, SQUARE = Resolution(480, 832), Resolution(512, 512)


@pytest.mark.parametrize(
    ("size", "encode", "decode"), [(P480, 8.05e12, 13.55e12), (SQUARE, 5.27e12, 8.88e12)]
)
def test_wan_reproduces_the_reference_figures(
    size: Resolution, encode: float, decode: float
) -> None:
    """Reference analysis, one steady chunk of 4 frames."""
    assert encode_flops(WAN, size, 1) == pytest.approx(encode, rel=0.01)
    assert decode_flops(WAN, size, 1) == pytest.approx(decode, rel=0.01)


def test_taehv_reproduces_the_reference_figure() -> None:
    vae = catalog.vae("taehv")
    assert decode_flops(vae, P480, 1) == pytest.approx(0.544e12, rel=0.01)
    assert encode_flops(vae, P480, 1) == encode_flops(WAN, P480, 1)


@pytest.mark.parametrize("name", catalog.names("vaes"))
def test_latents_count_one_by_one(name: str) -> None:
    vae = catalog.vae(name)
    for flops in (encode_flops, decode_flops):
        assert flops(vae, SQUARE, 3) == 3 * flops(vae, SQUARE, 1)


SMALL = [
    catalog.vae("tiny"),
    catalog.vae("taehv-tiny"),
    VaeSpec("other", 2, 8, (1, 3, 2, 5), 1, 2, (True, False, True)),
    VaeSpec("other-taehv", 2, 8, decoder="taehv", taehv_channels=(6, 10, 4, 2)),
]


@pytest.mark.parametrize("vae", SMALL, ids=lambda vae: vae.name)
@pytest.mark.parametrize("latents", [1, 2])
@torch.inference_mode()
def test_torch_counts_the_same(vae: VaeSpec, latents: int) -> None:
    """The attention runs as two products here, which is the form in which torch counts it."""
    size = Resolution(32, 48)
    encoder, decoder = build_encoder(vae, seed=0), build_decoder(vae, seed=0)
    past, kept = encoder.new_state(), decoder.new_state()
    z = encoder.encode(torch.zeros(3, 5, 32, 48), past)
    decoder.decode(z, kept)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        z = encoder.encode(torch.zeros(3, 4 * latents, 32, 48), past)
    assert counter.get_total_flops() == encode_flops(vae, size, latents)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        decoder.decode(z, kept)
    assert counter.get_total_flops() == decode_flops(vae, size, latents)
