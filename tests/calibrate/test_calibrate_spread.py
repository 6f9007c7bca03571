"""What repetitions scatter by and what runs differ by: told apart, and both in the answer."""

from dataclasses import replace
from math import sqrt
from statistics import fmean

import numpy as np
import pytest
from calibration_data import LINEAR, measurement, pass_cases, true_s

from streamtwin.calibrate import choice
from streamtwin.calibrate.fit import fit_family
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.variance import Spread, spread
from streamtwin.core.ops import Hop

FITTED = [case for case in pass_cases() if not case.held_out]
TRUE = np.array([true_s(case, "linear", LINEAR) for case in FITTED])


@pytest.fixture
def linear_only(monkeypatch):
    """Trying the other forms costs time, and which wins is another test's question."""
    monkeypatch.setattr(choice, "FORMS", {"linear": FORMS["linear"]})


def runs_of(within, between, seed, runs=4, ranks=2, times=8):
    """Measurements of every fitted pass with a factor for each start and one for each time."""
    draw = np.random.default_rng(seed)
    factors = np.repeat(draw.normal(1, between, (runs, 1)), ranks, axis=1)
    return [
        measurement(
            case, list(seconds * factors[run, rank] * draw.normal(1, within, times)), rank, run
        )
        for case, seconds in zip(FITTED, TRUE, strict=True)
        for run in range(runs)
        for rank in range(ranks)
    ]


@pytest.mark.parametrize(("within", "between"), [(0.02, 0.04), (0.10, 0.02), (0.05, 0.0)])
def test_scatter_within_and_between_runs_are_told_apart(within, between):
    found = []
    for seed in range(60):
        starts = [one.scatter for one in observe(runs_of(within, between, seed))]
        found.append(spread(starts))
    assert fmean(one.within_rel_std**2 for one in found) == pytest.approx(within**2, rel=0.05)
    mean_square = fmean(one.between_rel_std**2 for one in found)
    # the variance of a variance of 4 runs is 2 / 3 of its square, and 60 such are averaged
    margin = 4 * sqrt(2 / 3 / 60) * (between**2 + within**2 / 8 / len(FITTED))
    # and a variance below 0 is cut off: half the normal's mean, where there is nothing between
    margin += 0.5 * within**2 / 8 * sqrt(2 / 3 / len(FITTED))
    assert mean_square == pytest.approx(between**2, abs=margin)
    assert found[0].between_degrees == 3
    assert found[0].within_degrees == len(FITTED) * 8 * 7


def test_one_run_says_nothing_of_others():
    fit = fit_family(observe(runs_of(0.02, 0.04, 1, runs=1)))
    assert fit.spread.within_rel_std == pytest.approx(0.02, rel=0.2)
    assert (fit.spread.between_rel_std, fit.spread.between_degrees) == (None, 0)
    assert fit.run_half_width == 0.0
    assert spread([{(0, 0): [1.0]}, {}]) == Spread()


@pytest.mark.usefixtures("linear_only")
def test_the_interval_holds_the_mean_of_another_run():
    """Runs that the fit has not seen, at a configuration that it has: about 90 % lie inside."""
    inside = total = 0
    for seed in range(40):
        fit = fit_family(observe(runs_of(0.02, 0.05, seed)))
        op, true = FITTED[-5].op, TRUE[-5]
        low_s, high_s = fit.interval_s(op)
        narrow = fit.interval_s(op, another_run=False)
        assert low_s < narrow[0] <= narrow[1] < high_s
        factors = np.random.default_rng(1000 + seed).normal(1, 0.05, 40)
        inside += sum((low_s <= true * factors) & (true * factors <= high_s))
        total += len(factors)
    assert 0.87 <= inside / total <= 0.95


@pytest.mark.usefixtures("linear_only")
@pytest.mark.parametrize("between", [0.02, 0.04, 0.06])
def test_two_runs_of_two_ranks_are_two_runs(between):
    """Ranks that share what a run differs by count once: as the harness's default grid has them."""
    inside = total = 0
    for seed in range(60):
        fit = fit_family(observe(runs_of(0.02, between, seed, runs=2)))
        assert fit.spread.between_degrees == 1
        low_s, high_s = fit.interval_s(FITTED[-5].op)
        factors = np.random.default_rng(1000 + seed).normal(1, between, 40)
        inside += sum((low_s <= TRUE[-5] * factors) & (TRUE[-5] * factors <= high_s))
        total += len(factors)
    assert inside / total >= 0.85


def test_runs_count_alike_however_often_they_were_timed():
    case = FITTED[0]
    (one,) = observe([measurement(case, [1.0] * 30), measurement(case, [2.0] * 3, run=1)])
    assert one.typical_s == pytest.approx(1.5)
    assert one.ratios == pytest.approx([1.0] * 33)  # what runs differ by is no scatter within


def test_ratios_have_the_scatter_of_their_own_run():
    case = FITTED[0]
    draw = np.random.default_rng(0)
    measured = [
        measurement(case, list(draw.normal(1 + run % 2, 0.05 * (1 + run % 2), 4)), run=run)
        for run in range(400)
    ]
    ratios = observe(measured)[0].ratios
    assert np.std(ratios) == pytest.approx(0.05, rel=0.07)


def test_a_hop_is_pooled_like_any_other():
    case = replace(FITTED[0], op=Hop(1000), tag="receiver waits, sender idle")
    (one,) = observe([measurement(case, [1.0, 9.0], run=run) for run in range(2)])
    assert one.scatter == {(0, 0): [1.0, 9.0], (1, 0): [1.0, 9.0]}
    assert one.typical_s == 5.0
