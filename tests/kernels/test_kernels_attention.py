"""Which attention is chosen, and that another implementation gets what it expects."""

import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from kernel_cases import context, latents, make_stage, new_session, normal, one_session

from streamtwin.core.errors import UserError
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


@pytest.mark.parametrize("choice", ["flash", "math"])
def test_a_choice_is_taken_and_agrees(choice):
    plain, other = make_stage(), make_stage()
    other.choose_attention(choice)
    assert other.backends == (choice,)
    outs = [
        one_session(
            stage,
            stage.embed(latents(2, 1)),
            torch.tensor([[700.0], [500.0]]),
            [PassRow(0, 9, 1), PassRow(1, 8, 1)],
            new_session(stage, context, 2),
        )
        for stage in (plain, other)
    ]
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-4, atol=1e-5)


def test_a_choice_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="attention 'cudnn' is not there on cpu"):
        make_stage().choose_attention("cudnn")


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
        session = new_session(stage, context)
        times = torch.tensor([[700.0]])
        for frame in range(3):
            x = stage.embed(latents(1, 1, frame))
            outs.append(one_session(stage, x, times, [PassRow(0, frame, 1)], session))
    assert all(torch.equal(a, b) for a, b in zip(outs[:3], outs[3:], strict=True))
    assert len(asked) == 3 * 4 * 2
    assert {stride for _, stride in asked} == {1}


def test_cache_views_are_not_copied_for_attention():
    """What attention reads is the cache itself, contiguous along a head as fused kernels ask."""
    stage = make_stage(range(1))
    cache = stage.new_cache(3, Window(6, 3))
    k, v = cache.view(0, (0, 1, 2), 4 * stage.resolution.tokens)
    for view, whole in ((k, cache.k[0]), (v, cache.v[0])):
        assert view.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        assert view.transpose(1, 2).stride(-1) == 1
