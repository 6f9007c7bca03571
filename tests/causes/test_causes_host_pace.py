"""A host whose own pace changes: moments hit all at once, the tail is longer, runs differ."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from test_causes_replications import KnownLatency

from builders import FlatLatency, make_plan, normal
from streamtwin.core.latency import HostState
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import Hop, VaeDecode, VaeEncode
from streamtwin.core.replayed import PaceTrace
from streamtwin.sim.replications import figures_of, replicate
from streamtwin.sim.services import ServiceTimes
from streamtwin.sim.simulate import simulate
from streamtwin.sim.uncertainty import calibration_intervals


def moments(seed: int = 0, spread: float = 0.2) -> PaceTrace:
    """Two minutes in which each quarter of a second is slow much as the one before."""
    draw = np.random.default_rng(seed)
    logs = [0.0]
    for _ in range(479):
        logs.append(0.8 * logs[-1] + 0.6 * spread * draw.normal())
    return normal(0.25, np.exp(logs).tolist())


STEADY = FlatLatency()
PACED = FlatLatency(on=HostState(moments(), of_all=True))


def figures(plan, latency, run: int = 0) -> dict[str, float]:
    return figures_of(compute_metrics(simulate(plan, latency, run=run)))


def alone(latency: FlatLatency) -> FlatLatency:
    """The same scatter, with every service drawn by itself."""
    assert latency.on.trace is not None
    return replace(latency, on=HostState(), factors=latency.on.trace.factors)


def test_services_of_one_moment_are_slow_on_every_rank() -> None:
    """Two ranks that compute at once draw the same moments, though each draws its own noise."""
    plan = make_plan(gpus=2, steps=2, chunks=200)
    spans = [s for s in simulate(plan, PACED, run=3).spans if s.kind == "dit" and s.rows == 2]
    slowness: list[dict[float, float]] = [{}, {}]
    shortest = min(s.ended_s - s.began_s for s in spans)
    for span in spans:
        slowness[span.rank][round(span.began_s, 0)] = (span.ended_s - span.began_s) / shortest
    both = sorted(slowness[0].keys() & slowness[1].keys())
    pairs = [[own[at] for at in both] for own in slowness]
    assert len(both) > 10
    assert np.corrcoef(*pairs)[0, 1] > 0.5


def test_moments_lengthen_the_tail_and_leave_the_mean() -> None:
    """The services of a chunk do not make up for one another, as they would one by one."""
    plan = make_plan(gpus=2, steps=2, chunks=600, source_fps=16.0)
    own, apart = (
        [figures(plan, latency, run) for run in range(1, 6)] for latency in (PACED, alone(PACED))
    )
    tails = [fmean(run["latency_s p95"] - run["latency_s p50"] for run in r) for r in (own, apart)]
    assert tails[0] > 1.5 * tails[1]
    busy = make_plan(gpus=1, steps=1, chunks=2000)
    period = figures(busy, PACED)["period_s"]
    assert period == pytest.approx(figures(busy, STEADY)["period_s"], rel=0.01)


def test_the_moments_of_a_run_are_its_own_and_the_same_again() -> None:
    plan = make_plan(gpus=2, steps=2, chunks=60)
    runs = [simulate(plan, PACED, run=run).spans for run in (0, 1, 2, 1)]
    assert runs[1] == runs[3]
    assert runs[0] != runs[1] != runs[2]


def test_without_noise_a_host_has_no_moments() -> None:
    plan = make_plan(gpus=2, steps=2, chunks=30, service_noise=False)
    assert simulate(plan, PACED).spans == simulate(plan, STEADY).spans
    assert ServiceTimes(PACED, 0, 0, noise=False).pace is None


@pytest.mark.parametrize("run", [0, 1, 2])
def test_cards_and_copies_are_slow_at_moments_of_their_own(run: int) -> None:
    def offsets_s(of_all: bool, copy: int) -> list[float]:
        on = HostState(moments(), of_all=of_all)
        each = [
            ServiceTimes(FlatLatency(on=on), 0, rank, noise=True, run=run, first_rank=copy)
            for rank in range(copy, copy + 4)
        ]
        return [times.pace.offset_s for times in each if times.pace is not None]

    assert len(set(offsets_s(False, 0))) == 4
    assert len(set(offsets_s(True, 0))) == 1
    assert not set(offsets_s(True, 0)) & set(offsets_s(True, 4))


def test_no_two_purposes_draw_the_same() -> None:
    """What a host has in common is no rank's own draw, in any run, of any kind of service."""
    latency = FlatLatency(factors=(1.0,), between_rel_std=0.05)
    ops = (VaeEncode("tiny", 128, 192, 1, False), VaeDecode("tiny", 128, 192, 1, False))
    for run in range(1, 8):
        for rank in range(4):
            found = {
                ServiceTimes(
                    replace(latency, on=HostState(None, common, of_all)),
                    0,
                    rank,
                    noise=True,
                    run=run,
                )(op)
                / latency.predict(op).mean_s
                for common, of_all in ((0.0, True), (1.0, True))
                for op in ops
            }
            assert (
                len({round(factor, 12) for factor in found}) == 3
            )  # two of its own, one in common


def test_a_long_stream_on_such_a_host_is_surer_than_a_short_one() -> None:
    """It lives through all of the host's moments, so its mean is that of most runs."""
    latency = KnownLatency(on=HostState(moments(), of_all=True))
    widths = []
    for chunks in (60, 3000):
        plan = make_plan(gpus=1, steps=1, chunks=chunks)
        low, high = calibration_intervals(plan, latency, (), figures(plan, latency))["fps"]
        widths.append(np.log(high / low))
    assert widths[1] < 0.4 * widths[0]


def test_copies_live_through_moments_of_their_own() -> None:
    def offset_s(first_rank: int, rank: int) -> float:
        times = ServiceTimes(PACED, 0, rank, noise=True, run=1, first_rank=first_rank)
        assert times.pace is not None
        return times.pace.offset_s

    assert offset_s(0, 0) == offset_s(0, 1)
    assert offset_s(0, 0) != offset_s(2, 2)


def test_the_records_say_that_the_pace_was_played() -> None:
    plan = make_plan(gpus=1)
    scattered = replace(PACED, factors=(0.9, 1.1))
    for latency, words in (
        (scattered, "repetitions in the profile, and the pace of its host"),
        (replace(scattered, on=HostState()), "repetitions in the profile"),
    ):
        assert simulate(plan, latency).info.provenance["noise"] == words


def test_intervals_cover_runs_on_a_host_with_moments() -> None:
    """90 % of runs lie inside; had each service been drawn alone, far fewer would."""
    latency = KnownLatency(on=HostState(moments(), of_all=True), between_rel_std=0.01)
    covered: dict[str, dict[str, list[float]]] = {"moments": {}, "alone": {}}
    for gpus in (1, 2):
        for seed in range(4):
            plan = make_plan(gpus=gpus, steps=2, chunks=40, source_fps=16.0, seed=seed)
            runs = replicate(plan, latency, count=25)
            for how, model in (("moments", latency), ("alone", alone(latency))):
                told = calibration_intervals(plan, model, (), figures(plan, model))
                for name in ("latency_s p50", "latency_s p95"):
                    low, high = told[name]
                    inside = fmean(low <= value <= high for value in runs[name])
                    covered[how].setdefault(name, []).append(inside)
    assert 0.85 <= fmean(covered["moments"]["latency_s p95"]) <= 0.97
    assert fmean(covered["alone"]["latency_s p95"]) < 0.6
    assert fmean(covered["moments"]["latency_s p50"]) >= 0.8


def run_factors(common: float, of_all: bool) -> np.ndarray:
    """How slow encoding and decoding are on two ranks in many runs: a row for each."""
    latency = FlatLatency(factors=(1.0,), between_rel_std=0.05, on=HostState(None, common, of_all))
    ops = (VaeEncode("tiny", 128, 192, 1, False), VaeDecode("tiny", 128, 192, 1, False))
    return np.array(
        [
            [
                ServiceTimes(latency, 0, rank, noise=True, run=run)(op) / latency.predict(op).mean_s
                for run in range(1, 400)
            ]
            for rank in (0, 1)
            for op in ops
        ]
    )


@pytest.mark.parametrize(("common", "of_all", "within", "across"), [
    (0.0, True, 0.0, 0.0), (0.8, True, 0.8, 0.8), (0.8, False, 0.8, 0.0), (1.0, True, 1.0, 1.0),
])  # fmt: skip
def test_what_a_host_has_in_common_is_shared_by_what_it_computes(
    common: float, of_all: bool, within: float, across: float
) -> None:
    factors = run_factors(common, of_all)
    alike = np.corrcoef(factors)
    assert alike[0, 1] == pytest.approx(within, abs=0.12)
    assert alike[0, 2] == pytest.approx(across, abs=0.12)
    assert factors.mean() == pytest.approx(1.0, abs=0.01)
    assert np.log(factors).std() == pytest.approx(0.05, rel=0.15)


def test_transfers_share_nothing_with_what_is_computed() -> None:
    latency = FlatLatency(factors=(1.0,), between_rel_std=0.05, on=HostState(None, 1.0, True))
    hop, encode = Hop(1000), VaeEncode("tiny", 128, 192, 1, False)
    times = [[ServiceTimes(latency, 0, 0, noise=True, run=r)(op) for r in range(1, 400)]
             for op in (hop, encode)]  # fmt: skip
    assert np.corrcoef(times)[0, 1] == pytest.approx(0.0, abs=0.15)
