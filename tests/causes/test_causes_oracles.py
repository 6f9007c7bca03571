"""The simulator's own pipeline as a queue, against closed forms and against Ciw.

One rank is a single server with one queue: M/D/1, M/M/1, M/G/1. Two ranks with one step are two
servers in a line with no room between, because rank 0 may hand over an item only once it has taken
back the one before. Sessions at the door of a deployment that holds k of them are M/M/k: each takes
one of k places for as long as it lasts. The releases are the test's; all else runs as it does behind
a camera.
"""

from itertools import pairwise
from math import factorial
from statistics import fmean

import pytest
from queue_cases import EXPONENTIAL, arrivals, ciw_exits, ciw_waits, seconds_of, serve

from builders import FlatLatency, make_plan
from streamtwin.core.entry_metrics import outcomes
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.steady import emitted_chunks
from streamtwin.sim.simulate import simulate

COUNT = 6000


def waits_s(records):
    return [chunk.taken_s - chunk.released_s for chunk in records.chunks]


def lindley(instants_s, services_s):
    """Waiting times of a single server, first come first served (Lindley 1952)."""
    waits = [0.0]
    for (before, after), service_s in zip(pairwise(instants_s), services_s, strict=False):
        waits.append(max(0.0, waits[-1] + service_s - (after - before)))
    return waits


def test_m_d_1(monkeypatch):
    """Mean wait rho S / (2 (1 - rho)) (Pollaczek 1930), and each single one by Lindley and Ciw."""
    latency, load = FlatLatency(encode_s=0.02, block_s=0.005, decode_s=0.05), 0.6
    service_s = 0.1
    instants_s = arrivals(COUNT, load / service_s, seed=4)
    records = serve(monkeypatch, instants_s, latency)
    found = waits_s(records)
    assert found == pytest.approx(lindley(instants_s, [service_s] * COUNT), abs=1e-7)
    assert fmean(found) == pytest.approx(load * service_s / (2 * (1 - load)), rel=0.1)
    exits = [chunk.emitted_s for chunk in emitted_chunks(records)]
    assert exits == pytest.approx(ciw_exits(instants_s, [[service_s]], [float("inf")]), abs=1e-6)


@pytest.mark.parametrize(
    ("factors", "second_moment"),
    [(EXPONENTIAL, 2.0), ((0.5, 1.0, 1.5), (0.25 + 1.0 + 2.25) / 3)],
    ids=["M/M/1", "M/G/1"],
)
def test_m_m_1_and_m_g_1(monkeypatch, factors, second_moment):
    """Mean wait lambda E[S^2] / (2 (1 - rho)) (Pollaczek and Khinchine); M/M/1 is a case of it."""
    mean_s, load = 0.06, 0.5
    latency = FlatLatency(encode_s=0.0, block_s=mean_s / 6, decode_s=0.0, factors=factors)
    instants_s = arrivals(COUNT, load / mean_s, seed=6)
    records = serve(monkeypatch, instants_s, latency)
    services_s = seconds_of(records, "dit", 0)
    found = waits_s(records)
    assert found == pytest.approx(lindley(instants_s, services_s), abs=1e-7)
    predicted_s = load / mean_s * second_moment * mean_s**2 / (2 * (1 - load))
    assert fmean(found) == pytest.approx(predicted_s, rel=0.12)
    exits = [chunk.emitted_s for chunk in emitted_chunks(records)]
    assert exits == pytest.approx(ciw_exits(instants_s, [services_s], [float("inf")]), abs=1e-6)


def test_two_ranks_are_a_line_that_blocks(monkeypatch):
    """Each chunk leaves when Ciw says: its first server keeps a customer until the second is free."""
    latency = FlatLatency(0.0, 0.01, 0.0, 0.0, factors=EXPONENTIAL)
    first_s, *later_s = arrivals(COUNT // 2, 1 / 0.06, seed=8)
    # a stream's first chunk has the ring to itself until it is back
    instants_s = [first_s, *(at_s + 1.0 for at_s in later_s)]
    records = serve(monkeypatch, instants_s, latency, gpus=2)
    services_s = [seconds_of(records, "dit", rank) for rank in (0, 1)]
    exits = [chunk.emitted_s for chunk in emitted_chunks(records)]
    blocking = ciw_exits(instants_s, services_s, [float("inf"), 0])
    assert exits == pytest.approx(blocking, abs=1e-6)
    roomy = ciw_exits(instants_s, services_s, [float("inf"), float("inf")])
    assert fmean(map(float.__sub__, exits, roomy)) > 0.002


def sessions_at_the_door(servers: int, load: float, seed: int):
    """Join, wait and stay of 1,000 sessions that last 20 s on average, in the order they came in."""
    workload = {"source_fps": 4.0, "duration_s": 20.0}
    process = {"process": "poisson", "max_sessions": 1000, "lengths": "exponential"}
    process["rate_per_s"] = servers * load / workload["duration_s"]
    entry = {"policy": "memory", "room": servers, "max_queued": 1000}
    plan = make_plan(gpus=1, steps=1, **workload, arrivals=process, entry=entry, seed=seed)
    records = simulate(plan, FlatLatency(0.001, 0.0005, 0.001, 0.0))
    let_in = outcomes(records)
    left_s = dict.fromkeys(let_in, 0.0)
    for chunk in emitted_chunks(records):
        left_s[chunk.session] = max(left_s[chunk.session], chunk.emitted_s)
    joins_s = {session: plan.scenario.visit(session).join_s for session in let_in}
    return [
        (joins_s[one], let_in[one].time_s - joins_s[one], left_s[one] - let_in[one].time_s)
        for one in sorted(let_in, key=joins_s.__getitem__)
    ]


def test_sessions_at_the_door_wait_as_ciw_says():
    """Each one, but for the service of 6 ms that rank 0 may be in when somebody leaves."""
    found = sessions_at_the_door(2, 0.5, seed=0)
    joins_s, waits, stays_s = (list(column) for column in zip(*found, strict=True))
    expected = ciw_waits(joins_s, stays_s, servers=2)
    assert waits == pytest.approx(expected, abs=0.05)
    assert fmean(waits) == pytest.approx(fmean(expected), abs=1e-3)
    assert fmean(wait > 0 for wait in waits) > 0.2


def test_m_m_k():
    """Mean wait C S / (k (1 - rho)) with Erlang's C (Erlang 1917), over four runs of 1,000 sessions."""
    servers, load, stay_s = 3, 0.6, 20.0
    runs = [sessions_at_the_door(servers, load, seed) for seed in range(4)]
    found = fmean(wait for run in runs for _, wait, _ in run)
    offered = servers * load
    all_busy = offered**servers / factorial(servers) / (1 - load)
    erlang_c = all_busy / (sum(offered**n / factorial(n) for n in range(servers)) + all_busy)
    assert found == pytest.approx(erlang_c * stay_s / (servers * (1 - load)), rel=0.12)


@pytest.mark.parametrize("blocks", [[3, 3], [4, 2]], ids=str)
def test_throughput_of_a_line_that_blocks(blocks):
    """Input always waits: a period is the longer of two exponential services.

    Its mean is 1/a + 1/b - 1/(a + b) (for example Gershwin, Manufacturing Systems Engineering, 1994).
    """
    plan = make_plan(gpus=2, steps=1, chunks=4000, partition={"blocks": blocks})
    latency = FlatLatency(0.0, 0.01, 0.0, 0.0, factors=EXPONENTIAL)
    first, second = (1 / (0.01 * count) for count in blocks)
    predicted_s = 1 / first + 1 / second - 1 / (first + second)
    found = compute_metrics(simulate(plan, latency))["period_s"]
    assert found == pytest.approx(predicted_s, rel=0.04)


def test_a_camera_keeps_its_phase_and_random_arrivals_do_not(monkeypatch):
    """At 97 % load a grid of releases waits for nothing; M/D/1 predicts 16 services of waiting."""
    latency, service_s = FlatLatency(encode_s=0.02, block_s=0.005, decode_s=0.05), 0.1
    period_s = service_s / 0.97
    grid = serve(monkeypatch, [period_s * (n + 1) for n in range(1000)], latency)
    assert max(waits_s(grid)) == pytest.approx(0.0, abs=1e-9)
    random = serve(monkeypatch, arrivals(3000, 1 / period_s, seed=2), latency)
    assert fmean(waits_s(random)) > 3 * service_s


@pytest.mark.parametrize("excess", [0.03, 0.07])
def test_a_service_slightly_longer_than_the_grid_beats_with_it(monkeypatch, excess):
    """The wait grows by S - T a chunk until a chunk is dropped, then begins anew: a sawtooth.

    Its length is S / (S - T) releases. Random arrivals at that load would drop far more often.
    """
    latency, service_s = FlatLatency(encode_s=0.02, block_s=0.005, decode_s=0.05), 0.1
    period_s = service_s / (1 + excess)
    bounded = {"admission": "drop_oldest", "max_waiting": 1}
    instants_s = [period_s * (n + 1) for n in range(1200)]
    grid = serve(monkeypatch, instants_s, latency, **bounded)
    dropped = [chunk.chunk for chunk in grid.chunks if chunk.outcome == "dropped"]
    beat = service_s / (service_s - period_s)
    assert len(dropped) > 10
    assert {after - before for before, after in pairwise(dropped)} <= {int(beat), int(beat) + 1}
    assert (dropped[-1] - dropped[0]) / (len(dropped) - 1) == pytest.approx(beat, rel=0.03)
    taken = [chunk for chunk in grid.chunks if chunk.taken_s is not None]
    steps = [
        (after.taken_s - after.released_s) - (before.taken_s - before.released_s)
        for before, after in pairwise(taken)
    ]
    rising = [step for step in steps if step > 0]
    assert rising == pytest.approx([service_s - period_s] * len(rising), abs=1e-9)
    falls = [step for step in steps if step <= 0]
    assert falls == pytest.approx([service_s - 2 * period_s] * len(falls), abs=1e-9)
    random = serve(monkeypatch, arrivals(1200, 1 / period_s, seed=2), latency, **bounded)
    lost = sum(chunk.outcome == "dropped" for chunk in random.chunks)
    assert lost > 3 * len(dropped)


def test_two_cameras_keep_the_distance_at_which_they_began():
    """The second session's chunks come 40 ms behind the first's and wait for 60 of their 100 ms."""
    latency = FlatLatency(encode_s=0.02, block_s=0.005, decode_s=0.05, factors=(0.999, 1.001))
    plan = make_plan(steps=1, source_fps=8.0, sessions=2, visits=[{}, {"join_s": 2.04}], chunks=60)
    late = [
        chunk.taken_s - chunk.released_s
        for chunk in simulate(plan, latency).chunks
        if chunk.session == 1
    ]
    assert late[2:50] == pytest.approx([0.06] * 48, abs=1e-3)
