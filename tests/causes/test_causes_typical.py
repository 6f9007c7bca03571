"""The expected run that is told is like most others: little luck, and the middle of what may come."""

from dataclasses import replace
from statistics import fmean, median, pstdev

import numpy as np
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.sim import typical as module
from streamtwin.sim.replications import figures_of
from streamtwin.sim.simulate import simulate
from streamtwin.sim.typical import CHUNKS, nearest_to_middle, typical

DRAWN = np.random.default_rng(0).lognormal(0, 0.25, 60)
NOISY = FlatLatency(factors=tuple((DRAWN / DRAWN.mean()).tolist()))


def figures(plan):
    return figures_of(compute_metrics(simulate(plan, NOISY)))


@pytest.mark.parametrize("source_fps", [None, 12.0])
def test_the_run_that_is_told_has_less_luck_and_no_bias(source_fps: float | None) -> None:
    """Over twenty seeds it scatters half as much as any run, around the same middle."""
    told, others = [], []
    for seed in range(20):
        plan = make_plan(gpus=1, steps=1, chunks=40, seed=seed, source_fps=source_fps)
        told.append(figures(typical(plan, NOISY, ()))["latency_s p95"])
        others += [figures(replace(plan, luck=luck))["latency_s p95"] for luck in range(6)]
    assert pstdev(told) < 0.6 * pstdev(others)
    assert fmean(told) == pytest.approx(median(others), rel=0.02)


def test_each_luck_is_a_run_of_its_own_and_none_a_replication() -> None:
    plan = make_plan(gpus=2, chunks=20)
    expected = [simulate(replace(plan, luck=luck), NOISY).spans for luck in range(4)]
    runs = [simulate(plan, NOISY, run=run).spans for run in range(1, 4)]
    assert len({str(spans) for spans in expected + runs}) == 7
    assert simulate(replace(plan, luck=2), NOISY, run=3).spans == runs[2]


def test_nothing_is_chosen_where_nothing_scatters_or_luck_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = make_plan(gpus=2, chunks=20)
    assert typical(plan, FlatLatency(), ()) is plan
    assert typical(make_plan(gpus=2, service_noise=False), NOISY, ()).luck == 0
    monkeypatch.setattr(module, "simulate_deployment", None)
    long = make_plan(gpus=2, chunks=CHUNKS)
    assert typical(long, NOISY, ()) is long


def test_the_middle_is_that_of_all_figures() -> None:
    runs = np.array([[1.0, 9.0], [2.0, 5.0], [3.0, 1.0], [2.1, 9.0], [2.2, 4.0]])
    assert nearest_to_middle(runs) in (1, 4)
    assert nearest_to_middle(np.array([[1.0], [1.0], [1.0]])) == 0
