"""What differs between runs: nothing in the expected one, one factor for each rank and service."""

from itertools import product
from math import sqrt
from statistics import fmean, stdev

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import DitPass, Hop, VaeDecode, VaeEncode
from streamtwin.sim.services import ServiceTimes
from streamtwin.sim.simulate import simulate

PASS = DitPass("tiny", 3, 2, 1, 160, 960.0, True, False)
OPS = [PASS, VaeEncode("tiny", 64, 64, 1, False), VaeDecode("tiny", 64, 64, 1, False), Hop(1000)]
STEADY = FlatLatency(factors=(1.0,), between_rel_std=0.05)
NOISY = FlatLatency(factors=(0.9, 1.0, 1.1), between_rel_std=0.05)


def factor(op, rank=0, run=1, latency=STEADY, noise=True):
    times = ServiceTimes(latency, 7, rank, noise=noise, run=run)
    return times(op) / latency.predict(op).mean_s


@pytest.mark.parametrize("op", OPS, ids=lambda op: type(op).__name__)
def test_a_runs_factor_has_mean_one_and_the_spread_that_was_seen(op):
    found = [factor(op, run=run) for run in range(1, 801)]
    assert fmean(found) == pytest.approx(1.0, abs=4 * 0.05 / sqrt(800))
    assert stdev(found) == pytest.approx(0.05, rel=0.1)
    assert min(found) > 0


def test_widely_differing_runs_are_as_expected_in_the_mean_too():
    wide = FlatLatency(factors=(1.0,), between_rel_std=0.5)
    found = [factor(PASS, run=run, latency=wide) for run in range(1, 2001)]
    assert fmean(found) == pytest.approx(1.0, abs=4 * 0.5 / sqrt(2000))


def test_the_expected_run_is_the_expected_one():
    for op in OPS:
        assert factor(op, run=0) == 1.0
        assert factor(op, run=3, noise=False) == 1.0


def test_a_process_keeps_its_factor_and_shares_it_with_no_other():
    times = ServiceTimes(STEADY, 7, 0, noise=True, run=1)
    larger = DitPass("tiny", 6, 2, 1, 160, 960.0, True, True)
    assert len({times(PASS) for _ in range(5)}) == 1
    shifted = times(larger) / STEADY.predict(larger).mean_s
    assert shifted == pytest.approx(factor(PASS))
    found = [factor(op, rank, run) for op, rank, run in product(OPS, (0, 1), (1, 2))]
    assert len(set(found)) == len(found)


def test_runs_draw_the_same_services_whatever_they_differ_by():
    """Common random numbers: the spread between runs moves no draw within one."""
    alone = ServiceTimes(FlatLatency(factors=NOISY.factors), 7, 0, noise=True, run=2)
    shifted = ServiceTimes(NOISY, 7, 0, noise=True, run=2)
    ratios = [shifted(PASS) / alone(PASS) for _ in range(50)]
    assert ratios == pytest.approx([ratios[0]] * 50)
    assert ratios[0] != 1.0


def test_run_0_is_the_simulation_that_knows_of_no_other_runs():
    plan = make_plan(gpus=2, chunks=20)
    unaware = simulate(plan, FlatLatency(factors=NOISY.factors))
    assert simulate(plan, NOISY).spans == unaware.spans
    assert simulate(plan, NOISY, run=0).spans == unaware.spans


def test_a_replication_is_repeatable_and_another_one_differs():
    plan = make_plan(gpus=2, chunks=20)
    periods = [compute_metrics(simulate(plan, STEADY, run=run))["period_s"] for run in (1, 1, 2, 3)]
    assert periods[0] == periods[1]
    assert len(set(periods)) == 3


def test_replications_scatter_around_the_expected_run():
    """One rank: its period is the sum of its services, so its mean is not shifted by a maximum."""
    plan = make_plan(gpus=1, chunks=20)
    latency = FlatLatency(factors=(1.0,), between_rel_std=0.05)
    expected_s = compute_metrics(simulate(plan, latency))["period_s"]
    found = [compute_metrics(simulate(plan, latency, run=run))["period_s"] for run in range(1, 61)]
    spread_s = stdev(found)
    assert 0.02 < spread_s / expected_s < 0.06
    assert fmean(found) == pytest.approx(expected_s, abs=4 * spread_s / sqrt(60))
