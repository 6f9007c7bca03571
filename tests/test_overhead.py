"""How much of a micro-step is spent outside PyTorch's operators? Little enough not to show."""

import time
from statistics import median

import numpy as np
import pytest
import torch

from builders import make_plan
from straight_line import straight_line
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.rank_main import _keep_memory

BOUND = 0.03
ROUNDS = 31


@pytest.fixture(scope="module")
def services():
    """The three services of the tiny model on one rank, in the midst of a stream."""
    torch.set_num_threads(1)
    _keep_memory()
    plan = make_plan(steps=2)
    kernels = StageKernels(plan, plan.stages[0])
    state = kernels.new_session(0)
    size = plan.scenario.size
    draw = np.random.default_rng(0)
    first, frames = (
        draw.integers(0, 256, (count, size.height, size.width, 3), dtype=np.uint8)
        for count in (5, 4)
    )
    latents = kernels.encode(state, Row(0, 0, 0, 0), first, lambda _: 0.8)
    kernels.decode(state, latents)
    item = Item(20, (Row(0, 20, 20, 0), Row(0, 19, 19, 1)))
    work = Work(torch.randn(2, 1, 16, *size.latent), (700, 500))
    return {
        "pass": lambda: kernels.run({0: state}, item, work),
        "encode": lambda: kernels.encode(state, item.rows[0], frames, lambda _: 0.8),
        "decode": lambda: kernels.decode(state, work.latents[0]),
    }


def share_outside(service) -> float:
    """One less the time of straight-line code over that of *service*, taken in turn.

    Times are those of this thread: what other processes take of the core is nobody's overhead.
    """
    service()  # tables that are computed once
    straight, _ = straight_line(service)
    times = {service: [], straight: []}
    for _ in range(ROUNDS):
        for run, taken in times.items():
            began_s = time.thread_time()
            run()
            taken.append(time.thread_time() - began_s)
    return 1 - median(times[straight][1:]) / median(times[service][1:])


def steadily(service, attempts=3) -> float:
    """The least share of a few: what another process takes from one side is no overhead."""
    return min(share_outside(service) for _ in range(attempts))


def test_straight_line_code_computes_the_same():
    w = torch.randn(3, 3)
    kept = torch.zeros(3)

    def compute():
        y = torch.nn.functional.linear(torch.ones(2, 3), w).relu_()
        a, b = torch.cat([y, y]).chunk(2)
        kept[:] = (a + b).sum(0)

    run, calls = straight_line(compute)
    expected = kept.clone()
    kept.zero_()
    run()
    assert torch.equal(kept, expected)
    assert calls >= 7


def test_the_method_notices_python():
    x = torch.randn(64, 64)

    def slow():
        for _ in range(20):
            torch.mm(x, x)
            sum(range(2000))

    assert share_outside(slow) > 0.2


def test_a_micro_step_shows_no_python(services):
    assert steadily(services["pass"]) < BOUND


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_the_vae_shows_little(services, name):
    assert steadily(services[name]) < 3 * BOUND
