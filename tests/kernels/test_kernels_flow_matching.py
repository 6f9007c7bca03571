"""The noise schedule, its algebra, and draws that depend on their key alone."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.kernels.flow_matching import (
    SIGMAS,
    denoise,
    mix,
    noise,
    renoise,
    sigma,
)


def test_schedule_is_the_shifted_one():
    assert len(SIGMAS) == 1000
    assert all(low < high for low, high in pairwise(SIGMAS))
    assert SIGMAS[-1] == 1.0
    assert SIGMAS[499] == pytest.approx(8 * 0.5 / (1 + 7 * 0.5))


@given(st.floats(0, 1000))
def test_lookup_takes_the_nearest_entry(timestep):
    nearest = min(abs(entry - timestep / 1000) for entry in SIGMAS)
    found = sigma(timestep)
    assert found in SIGMAS
    assert abs(found - timestep / 1000) == nearest


@pytest.mark.parametrize("step", STEP_TIMESTEPS)
def test_steps_lie_close_to_their_entry(step):
    assert sigma(step) == pytest.approx(step / 1000, abs=2e-3)


@pytest.mark.parametrize("timestep", [-1, 1000.5, float("nan")])
def test_lookup_refuses_what_is_outside(timestep):
    with pytest.raises(ValueError, match="choose one in"):
        sigma(timestep)


@pytest.mark.parametrize("level", [0.2, 0.7, torch.tensor([0.7, 0.5])[:, None]])
def test_denoise_inverts_renoise(level):
    clean, eps = torch.randn(2, 2, 5, generator=torch.Generator().manual_seed(0)).unbind()
    x_t = renoise(clean, eps, level)
    torch.testing.assert_close(x_t, (1 - level) * clean + level * eps)
    torch.testing.assert_close(denoise(x_t, eps - clean, level), clean)


def test_mix_weighs_noise_and_latents():
    z, eps = torch.tensor([2.0, -4.0]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(mix(z, eps, 0.75), torch.tensor([1.25, -0.25]))


def test_half_precision_stays_half():
    x = torch.ones(3, dtype=torch.bfloat16)
    assert denoise(x, x, 0.5).dtype == renoise(x, x, 0.5).dtype == mix(x, x, 0.5).dtype == x.dtype


def test_draws_do_not_depend_on_order():
    keys = list(product((0, 1), (0, 1), (0, 5), (0, 3)))

    def draw(key):
        seed, session, chunk, step = key
        return noise((2, 16), seed=seed, session=session, chunk=chunk, step=step)

    forward = {key: draw(key) for key in keys}
    torch.manual_seed(99)  # the global generator plays no part
    backward = {key: draw(key) for key in reversed(keys)}
    assert all(torch.equal(forward[key], backward[key]) for key in keys)
    distinct = {tuple(value.flatten().tolist()) for value in forward.values()}
    assert len(distinct) == len(keys)


def test_draws_are_standard_normal():
    draw = noise((200, 200), seed=0, session=1, chunk=2, step=3)
    assert float(draw.mean()) == pytest.approx(0, abs=0.02)
    assert float(draw.std()) == pytest.approx(1, abs=0.02)
    assert noise((2,), seed=0, session=0, chunk=0, step=0, dtype=torch.bfloat16).dtype is (
        torch.bfloat16
    )
