"""How fast are the engines, beside SimPy itself on this machine in this minute?

Figures are printed; what is asserted is an order of magnitude, which no disturbance hides.
"""

from collections.abc import Callable
from statistics import median

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bare import bare_pipeline
from deployments import CHUNKS_AN_HOUR, hour, paper, plan_of
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.sim.simulate import simulate
from timing import exponent, in_turn, seconds

SERVED = ("encode", "dit", "decode", "hop")
Show = Callable[[str], None]


def services(records: Records) -> int:
    """Encodings, passes, hops and decodings of a run."""
    return sum(span.kind in SERVED for span in records.spans)


def test_events_beside_bare_simpy(benchmark: BenchmarkFixture, show: Show) -> None:
    chunks = 1500
    plan, model = plan_of(f"workload.chunks={chunks}"), paper()
    served = services(simulate(plan, model))
    items = chunks + plan.steps - 1
    bare_served = bare_pipeline(items, plan.ranks)
    assert served == pytest.approx(bare_served, rel=0.01)
    pairs = in_turn(
        15,
        lambda: bare_pipeline(items, plan.ranks),
        lambda: simulate(plan, model),
        lambda: simulate(plan, model, engine="recurrence"),
    )
    bare, events, recurrence = pairs
    benchmark.pedantic(simulate, (plan, model), rounds=5)
    ratios = sorted(b / e for b, e in zip(bare.times_s, events.times_s, strict=True))
    show(
        f"services/s, W=4 N=4, best of 15: bare SimPy {bare_served / min(bare.times_s):,.0f}, "
        f"events {served / min(events.times_s):,.0f}, "
        f"recurrence {served / min(recurrence.times_s):,.0f}"
    )
    show(
        f"events beside bare SimPy: {min(bare.times_s) / min(events.times_s):.2f} of it (best by "
        f"best), pairwise {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
    assert served / min(events.times_s) > 10_000
    assert min(bare.times_s) / min(events.times_s) > 0.1


@pytest.mark.parametrize("engine", ["simpy", "recurrence"])
def test_an_hour_of_one_session(engine: str, benchmark: BenchmarkFixture, show: Show) -> None:
    plan, model = hour(), paper()
    records = benchmark.pedantic(simulate, (plan, model), {"engine": engine}, rounds=5)
    assert len(records.chunks) == CHUNKS_AN_HOUR
    times = sorted(benchmark.stats.stats.data)
    show(
        f"an hour of 4 ranks, records included, {engine}: median {median(times):.2f} s "
        f"({times[0]:.2f} to {times[-1]:.2f}), {len(records.spans):,} spans"
    )
    assert times[0] < 20


def test_cost_is_linear_in_simulated_time(show: Show) -> None:
    sizes, model = [900, 1800, 3600, 7200, 14400], paper()
    plans = [plan_of(f"workload.chunks={size}", "workload.source_fps=16") for size in sizes]
    best = [min(seconds(lambda p=plan: simulate(p, model)) for _ in range(3)) for plan in plans]
    found = exponent(sizes, best)
    show(f"cost by simulated time, {sizes[0]} to {sizes[-1]} chunks: exponent {found:.2f}")
    assert found < 1.5


@pytest.mark.parametrize("fps", ["null", "1"])
def test_cost_is_linear_in_sessions(fps: str, show: Show) -> None:
    """Every session has the same few chunks, so that twice the sessions are twice the work."""
    sizes, model = [30, 100, 300, 1000], paper()
    plans = [
        plan_of(
            f"workload.sessions={size}",
            "workload.chunks=6",
            f"workload.source_fps={fps}",
            "deployment.steps=1",
            "deployment.stream_batch=false",
        )
        for size in sizes
    ]
    runs = [simulate(plan, model) for plan in plans]
    best = [min(seconds(lambda p=plan: simulate(p, model)) for _ in range(3)) for plan in plans]
    judged = [min(seconds(lambda r=run: compute_metrics(r)) for _ in range(2)) for run in runs]
    served = [services(run) for run in runs]
    show(
        f"cost by sessions, {sizes[0]} to {sizes[-1]}, fps {fps}: exponent "
        f"{exponent(sizes, best):.2f} (services {exponent(sizes, served):.2f}), of the metrics "
        f"{exponent(sizes, judged):.2f}; with {sizes[-1]} sessions {served[-1] / best[-1]:,.0f} "
        f"services/s, metrics {judged[-1]:.2f} s"
    )
    assert exponent(sizes, best) < 1.5
