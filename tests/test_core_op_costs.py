"""Does an operation cost what its parts cost, counted one by one?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core import catalog
from streamtwin.core.op_costs import bytes_of, flops_of
from streamtwin.core.ops import Copy, DitPass, Hop, VaeDecode, VaeEncode
from streamtwin.core.row_costs import row_costs
from streamtwin.core.specs import Resolution
from streamtwin.core.vae_flops import decode_flops, encode_flops

WAN = catalog.model("wan2.1-1.3b")


def pass_of(blocks: int, rows: int, frames: int = 1, kv_tokens: float = 9360) -> DitPass:
    return DitPass("wan2.1-1.3b", blocks, rows, frames, 1560, kv_tokens, True, True)


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 3))
def test_a_pass_computes_its_rows_in_every_block(blocks: int, rows: int, frames: int) -> None:
    one = WAN.block_flops(frames * 1560, 9360)
    assert flops_of(pass_of(blocks, rows, frames)) == pytest.approx(blocks * rows * one)


def test_a_row_agrees_with_the_costs_that_the_catalogue_lists() -> None:
    row = row_costs(WAN, Resolution(480, 832))
    assert flops_of(pass_of(30, 1)) == pytest.approx(row.flops)
    written = row.block_kv_bytes / 6
    least = row.block_weight_bytes + row.block_cross_kv_bytes + row.block_kv_bytes + written
    assert bytes_of(pass_of(30, 1), 2) == pytest.approx(30 * (least + 2 * row.activation_bytes))


def test_weights_are_read_once_whatever_the_rows() -> None:
    one, two, three = (bytes_of(pass_of(8, rows), 2) or 0.0 for rows in (1, 2, 3))
    assert two - one == pytest.approx(three - two)
    once = 8 * 2 * (WAN.block_parameters + 2 * WAN.text_len * WAN.dim)
    assert one - (two - one) == pytest.approx(once)


@pytest.mark.parametrize("name", ["tiny", "wan2.1", "taehv"])
def test_the_vae_computes_what_its_halves_do(name: str) -> None:
    vae, size = catalog.vae(name), Resolution(480, 832)
    for latents in (1, 3):
        encode, decode = (kind(name, 480, 832, latents, False) for kind in (VaeEncode, VaeDecode))
        assert flops_of(encode) == encode_flops(vae, size, latents)
        assert flops_of(decode) == decode_flops(vae, size, latents)
        for op in (encode, decode):
            assert bytes_of(op, 4) == 2 * (bytes_of(op, 2) or 0.0)
            # a convolution does tens of operations on each number it touches
            assert 1 < (flops_of(op) or 0.0) / (bytes_of(op, 2) or 1.0) < 10_000


@pytest.mark.parametrize(
    "op", [Hop(10), Copy("to_host", 10), pass_of(0, 2), VaeEncode("wan2.1", 480, 832, 2, True)]
)
def test_what_is_not_counted_has_no_figure(op) -> None:
    assert flops_of(op) is None
    assert bytes_of(op, 2) is None
