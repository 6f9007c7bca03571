"""Attention over any split of the keys, merged, is attention over all of them."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import error, normal

from streamtwin.kernels.merged_attention import (
    _with_weight,
    merge,
    partial_attention,
    plain_attention,
)

# the logarithm of a weight is some tens here, and its last bit is that share of the weight
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Several threads on work this small wait for each other, for long on a busy host."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tensors(keys: int, dtype: torch.dtype, scale: float = 1.0, width: int = 16):
    q, k = normal(2, 5, 3, width, seed=1) * scale, normal(2, keys, 3, width, seed=2) * scale
    return q.to(dtype), k.to(dtype), normal(2, keys, 3, width, seed=3).to(dtype)


def whole(q, k, v):
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from([0.1, 1.0, 4.0]),  # of scores: from nearly even weights to one key alone
    st.sampled_from(list(BOUNDS)),
)
def test_any_split_of_the_keys_gives_the_same_attention(sizes, random, scale, dtype):
    q, k, v = tensors(sum(sizes), dtype, scale)
    order = torch.tensor(random.sample(range(sum(sizes)), sum(sizes)))
    parts = [partial_attention(q, k[:, own], v[:, own]) for own in order.split(sizes)]
    merged = merge(torch.stack(parts))
    assert merged.dtype == dtype
    assert error(merged.double(), whole(q, k, v)) < BOUNDS[dtype]


@given(st.permutations(range(4)))
def test_the_order_of_the_parts_does_not_matter(order):
    q, k, v = tensors(12, torch.float64)
    parts = torch.stack(
        [partial_attention(q, *part) for part in zip(k.split(3, 1), v.split(3, 1), strict=True)]
    )
    assert error(merge(parts[list(order)]), merge(parts)) < 1e-14


def test_a_part_without_weight_changes_nothing():
    """Scores so low that their weight is zero beside that of the others."""
    q, k, v = tensors(6, torch.float32)
    far = -1e4 * q[:, :1].expand(2, 6, 3, 16)
    parts = [partial_attention(q[:, :1], k, v), partial_attention(q[:, :1], far, v + 100)]
    merged = merge(torch.stack(parts))
    assert torch.isfinite(merged).all()
    assert error(merged.double(), whole(q[:, :1], k, v)) < 2e-6


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_plain_operations_give_what_the_kernel_gives(dtype, scale):
    q, k, v = (x.transpose(1, 2) for x in tensors(11, dtype, scale, width=128))
    out, weight = _with_weight(q, k, v)
    other, other_weight = plain_attention(q, k, v)
    assert (out.dtype, weight.dtype) == (other.dtype, other_weight.dtype)
    assert error(out.double(), other.double()) < BOUNDS[dtype]
    assert error(weight, other_weight) < (1e-14 if dtype == torch.float64 else 1e-6)
