"""Which attention is chosen, and that another implementation gets what it expects."""

import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from kernel_cases import context, latents, make_stage, normal

from streamtwin.core.window import Window
from streamtwin.kernels import attention
from streamtwin.kernels.cache import PassRow


def test_a_cpu_has_one():
    assert attention.available_backends(torch.device("cpu"), torch.float32) == ("cpu",)
    assert attention.implementation(("cpu",)) is attention.attend


@pytest.mark.parametrize(
    ("half", "hopper", "fa3", "first"),
    [
        (True, True, True, "fa3"),
        (True, True, False, "cudnn"),
        (True, False, False, "flash"),
        (False, True, True, "efficient"),
    ],
)
def test_the_fastest_comes_first_and_one_serves_all(half, hopper, fa3, first):
    order = attention.preferred(half=half, hopper=hopper, fa3=fa3)
    assert (order[0], order[-1]) == (first, "math")


def test_the_order_reaches_pytorch():
    with attention.priority(("cudnn", "flash", "math")):
        # 3, 1, 0 in the order of PyTorch's list of backends
        assert torch._C._get_sdp_priority_order()[:3] == [
            int(attention.SDPA[name]) for name in ("cudnn", "flash", "math")
        ]
        assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()


def test_attend_is_softmax_of_scaled_products():
    q, k, v = normal(2, 5, 3, 8, seed=1), normal(2, 9, 3, 8, seed=2), normal(2, 9, 3, 8, seed=3)
    weights = torch.einsum("blhd,bkhd->bhlk", q, k).div(8**0.5).softmax(-1)
    expected = torch.einsum("bhlk,bkhd->blhd", weights, v).flatten(2)
    assert torch.allclose(attention.attend(q, k, v), expected, atol=1e-6)


@pytest.mark.parametrize("pair", [False, True])
def test_flash_attention_3_is_asked_in_its_own_layout(monkeypatch, pair):
    """The package runs on Hopper cards only; its function takes and gives [B, L, heads, d]."""
    asked = []

    def flash_attn_func(q, k, v):
        asked.append((tuple(q.shape), k.stride(-1)))
        y = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)))
        return (y.transpose(1, 2), None) if pair else y.transpose(1, 2)

    monkeypatch.setitem(
        sys.modules, attention.FA3, SimpleNamespace(flash_attn_func=flash_attn_func)
    )
    plain, other = make_stage(), make_stage()
    other.attend = attention.implementation(("fa3", "cudnn"))
    outs = []
    for stage in (plain, other):
        cache = stage.new_cache(1, Window(6, 3))
        stage.set_prompt(cache, context)
        times = torch.tensor([[700.0]])
        for frame in range(3):
            x = stage.embed(latents(1, 1, frame))
            outs.append(stage(x, times, [PassRow(0, frame, 1)], cache))
    assert all(torch.equal(a, b) for a, b in zip(outs[:3], outs[3:], strict=True))
    assert len(asked) == 3 * 4 * 2
    assert {stride for _, stride in asked} == {1}


def test_cache_views_are_not_copied_for_attention():
    """What attention reads is the cache itself, contiguous along a head as fused kernels ask."""
    stage = make_stage(range(1))
    cache = stage.new_cache(3, Window(6, 3))
    k, v = cache.view(0, (0, 1, 2), 4 * stage.resolution.tokens)
    for view, whole in ((k, cache.k), (v, cache.v)):
        assert view.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        assert view.transpose(1, 2).stride(-1) == 1
