"""Scatter of runs, differences in pairs, and intervals that cover what they say."""

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.errors import ScenarioError
from streamtwin.core.latency import Prediction
from streamtwin.core.metrics import compute_metrics
from streamtwin.sim import uncertainty
from streamtwin.sim.drawn import drawn_runs
from streamtwin.sim.replications import (
    compare_plans,
    differences,
    figures_of,
    replicate,
    spread,
)
from streamtwin.sim.simulate import simulate
from streamtwin.sim.uncertainty import calibration_intervals

NOISY = FlatLatency(factors=(0.8, 1.0, 1.2), between_rel_std=0.05)
HALF = 1.6448536269514722


@dataclass(frozen=True)
class KnownLatency(FlatLatency):
    """Its intervals are of what runs differ by, and of a fit that may be off by *fit_rel_std*."""

    fit_rel_std: float = 0.0

    def predict(self, op):
        told = super().predict(op)
        sigma = sqrt(log(1 + self.between_rel_std**2) + self.fit_rel_std**2)
        ends = (told.mean_s * exp(side * HALF * sigma) for side in (-1, 1))
        return Prediction(told.mean_s, *ends, told.provenance)


def expected(plan, latency):
    return figures_of(compute_metrics(simulate(plan, latency)))


def test_the_interval_of_a_mean_is_students():
    found = spread([1.0, 2.0, 3.0, 4.0])
    assert (found.mean, found.std) == (2.5, pytest.approx(1.2909944))
    # t of 3 degrees of freedom at 97.5 %: 3.18245 (any table)
    assert found.high - found.mean == pytest.approx(3.18245 * 1.2909944 / 2, rel=1e-5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_intervals_of_means_cover_the_mean():
    draws = np.random.default_rng(3).normal(7.0, 2.0, size=(2000, 6))
    spreads = [spread(row.tolist()) for row in draws]
    assert fmean(one.low <= 7.0 <= one.high for one in spreads) == pytest.approx(0.95, abs=0.015)


def test_replications_are_runs_of_their_own_and_repeatable():
    plan = make_plan(gpus=2, chunks=16)
    values = replicate(plan, NOISY, count=4)
    assert replicate(plan, NOISY, count=4) == values
    third = figures_of(compute_metrics(simulate(plan, NOISY, run=3)))
    assert {name: own[2] for name, own in values.items()} == third
    assert len(set(values["fps"])) == 4
    assert set(values) == {
        "fps", "period_s", "ttff_s", "latency_s p50", "latency_s p95", "deadline_miss_rate",
    }  # fmt: skip


def test_pairs_of_runs_tell_a_difference_better_than_runs_by_themselves():
    """Decoding 3 % faster: less than what runs differ by, and seen all the same."""
    plan = make_plan(gpus=2, steps=1, chunks=16)
    faster = FlatLatency(0.02, 0.01, 0.97 * 0.03, 0.005, NOISY.factors, NOISY.between_rel_std)
    found = compare_plans((plan, plan), (NOISY, faster), count=12)["fps"]
    assert found.paired.mean == pytest.approx(found.unpaired.mean)
    assert found.paired.std < 0.2 * found.unpaired.std
    assert found.paired.low > 0
    assert found.unpaired.low < 0 < found.unpaired.high


def test_pairs_hold_across_deployments():
    """Ranks that both have draw the same, so two deployments differ by less luck."""
    plans = tuple(make_plan(gpus=2, steps=1, chunks=16, protocol=p) for p in ("sdv2", "overlap"))
    found = compare_plans(plans, (NOISY, NOISY), count=12)["period_s"]
    assert found.paired.std < found.unpaired.std
    assert found.paired.high < 0


def test_runs_that_are_no_pairs_are_refused():
    with pytest.raises(ScenarioError, match="3 and 4 replications: runs are compared in pairs"):
        differences({"fps": [1.0] * 3}, {"fps": [1.0] * 4})
    with pytest.raises(ScenarioError, match="two at least"):
        differences({"fps": [1.0]}, {"fps": [1.0]})


def test_intervals_cover_the_runs_that_they_promise():
    """Of a profile whose runs differ by 5 %: 90 % of runs lie inside, in all figures together."""
    latency = KnownLatency(factors=(0.98, 1.0, 1.02), between_rel_std=0.05)
    covered = {"fps": [], "period_s": [], "ttff_s": [], "latency_s p50": [], "latency_s p95": []}
    for gpus in (1, 2, 3):
        for seed in range(4):
            plan = make_plan(gpus=gpus, steps=1, chunks=16, seed=seed)
            intervals = calibration_intervals(plan, latency, (), expected(plan, latency))
            runs = replicate(plan, latency, count=25)
            for name, own in covered.items():
                low, high = intervals[name]
                own.append(fmean(low <= value <= high for value in runs[name]))
    for name, own in covered.items():
        assert 0.85 <= fmean(own) <= 0.95, (name, own)


def test_errors_of_a_fit_add_up_as_independent_ones():
    """One rank: the period is a sum, so its variance is the sum of those of the three fits."""
    plan = make_plan(gpus=1, steps=1, chunks=16)
    latency = KnownLatency(fit_rel_std=0.1)
    found = expected(plan, latency)
    low, high = calibration_intervals(plan, latency, (), found)["period_s"]
    parts = (0.02, 0.06, 0.03)
    sigma = 0.1 * sqrt(sum(part**2 for part in parts)) / sum(parts)
    assert log(high / low) / 2 == pytest.approx(HALF * sigma, rel=0.25)
    # all three at their ends at once would be this wide
    assert log(high / low) / 2 < 0.85 * HALF * 0.1


def test_an_interval_holds_what_was_predicted_and_nothing_where_nothing_is_open():
    plan = make_plan(gpus=2, steps=1, chunks=16, source_fps=60.0, service_noise=False)
    certain, open_ = KnownLatency(factors=NOISY.factors), KnownLatency(fit_rel_std=0.2)
    found = expected(plan, certain)
    for name, (low, high) in calibration_intervals(plan, certain, (), found).items():
        assert low == pytest.approx(found[name], rel=1e-9)
        assert high == pytest.approx(found[name], rel=1e-9)
    for name, (low, high) in calibration_intervals(plan, open_, (), found).items():
        assert low <= found[name] <= high
        assert low >= 0
        assert name != "deadline_miss_rate" or high <= 1


def test_a_long_stream_has_the_intervals_of_a_shorter_one():
    """Draws are cut short; their scatter is relative to a run as short, so nothing is lost."""
    latency = KnownLatency(fit_rel_std=0.05)
    widths = []
    for chunks in (30, 300):
        plan = make_plan(gpus=2, steps=1, chunks=chunks)
        low, high = calibration_intervals(plan, latency, (), expected(plan, latency))["fps"]
        widths.append(log(high / low))
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


@pytest.mark.parametrize(("source_fps", "most"), [(8.0, 500), (54.0, 2000)])
def test_a_long_live_stream_is_cut_where_no_draw_falls_behind(
    monkeypatch: pytest.MonkeyPatch, source_fps: float, most: int
) -> None:
    """A camera with time to spare is drawn for some hundred chunks; one at the edge as it is.

    The pipeline does 61.5 frames/s. At 54 it keeps up, and falls behind in many draws of a fit that
    may be 10 % off: then the backlog grows for all of the stream.
    """
    latency = KnownLatency(fit_rel_std=0.1)
    plan = make_plan(gpus=2, steps=1, chunks=2000, source_fps=source_fps)
    found, drawn = expected(plan, latency), []
    assert found["fps"] == pytest.approx(source_fps, rel=0.01)

    def noted(each, *arguments):
        drawn.append(each.scenario.chunks)
        return drawn_runs(each, *arguments)

    monkeypatch.setattr(uncertainty, "drawn_runs", noted)
    intervals = calibration_intervals(plan, latency, (), found)
    assert drawn == [2000] if most == 2000 else drawn[0] <= most
    for name, (low, high) in intervals.items():
        assert low <= found[name] <= high


def test_what_grows_with_the_stream_keeps_its_interval_around_it():
    """An input that comes too fast waits ever longer: a short draw waits less, in proportion."""
    latency = KnownLatency(fit_rel_std=0.02)
    plan = make_plan(gpus=1, steps=1, chunks=300, source_fps=60.0)
    found = expected(plan, latency)
    low, high = calibration_intervals(plan, latency, (), found)["latency_s p95"]
    assert 0.8 * found["latency_s p95"] < low < found["latency_s p95"] < high
    assert high < 1.25 * found["latency_s p95"]


def test_replications_scatter_as_the_profile_says():
    latency = FlatLatency(factors=(1.0,), between_rel_std=0.05)
    values = replicate(make_plan(gpus=1, steps=1, chunks=12), latency, count=60)["period_s"]
    # three independent services of 20, 60 and 30 ms, each of 5 %
    sigma = 0.05 * sqrt(0.02**2 + 0.06**2 + 0.03**2) / 0.11
    assert stdev(values) / fmean(values) == pytest.approx(sigma, rel=0.35)
