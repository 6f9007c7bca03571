"""The critical cycle against the period, the closed form, and what happens when services change."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.closed_period import CAMERA, ROUND_TRIP, period_terms
from streamtwin.core.critical import Place, told
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.steady import emitted_chunks
from streamtwin.sim.simulate import simulate

seconds = st.floats(0.004, 0.1)
latencies = st.builds(
    FlatLatency,
    encode_s=seconds,
    block_s=st.floats(0.001, 0.03),
    decode_s=seconds,
    hop_s=seconds,
)
VARIANTS = [
    {},
    {"protocol": "overlap"},
    {"decode": "before_send"},
    {"wrap_activations": False},
    {"stream_batch": False},
    {"gpus": 4, "vae_placement": "dedicated"},
    {"gpus": 5, "vae_placement": "dedicated", "protocol": "overlap"},
    {"sessions": 2},
    {"gpus": 3, "sessions": 3, "lanes": "sessions"},
    {"slowdown": {1: 2.0}},
    {"chunk_latents": 2},
]


def found(plan, latency):
    """Period and critical cycle of a run that has settled, None and None otherwise.

    Near a tie of two limits the transient outlasts the warm-up; its cycle is not the last one. A
    way round that sets the pace has W - 1 items in a rhythm of their own.
    """
    records = simulate(plan, latency)
    done = emitted_chunks(records)
    sessions = plan.scenario.workload.sessions
    times = [chunk.emitted_s for chunk in done[: len(done) - plan.tail_chunks * sessions]]
    turn = plan.lanes * max(1, plan.lanes - 1) * sessions
    begun = len(times) - 1 - (len(times) - 1 - plan.warmup_chunks) // 2
    early_s, late_s = times[begun] - times[begun - turn], times[-1] - times[-turn - 1]
    cycle = compute_metrics(records)["critical_cycle"]
    return (late_s / turn, cycle) if abs(early_s - late_s) < 1e-9 else (None, None)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@given(latency=latencies, gpus=st.integers(2, 5), steps=st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_the_cycle_over_its_chunks_is_the_period(changes, latency, gpus, steps):
    plan = make_plan(**{"gpus": gpus, "steps": steps, "chunks": 90, **changes})
    period_s, cycle = found(plan, latency)
    assume(period_s)
    assert cycle["period_s"] == pytest.approx(period_s, abs=1e-9)
    assert cycle["seconds"] == pytest.approx(cycle["period_s"] * cycle["chunks"], rel=1e-12)
    assert cycle["seconds"] == pytest.approx(sum(step["seconds"] for step in cycle["steps"]))


@given(latencies, st.integers(1, 6), st.integers(1, 3), st.sampled_from([None, 0.5, 40.0]))
@settings(max_examples=60, deadline=None)
def test_the_cycle_is_the_longest_term_of_the_closed_form(latency, gpus, steps, source_fps):
    plan = make_plan(gpus=gpus, steps=steps, chunks=90, source_fps=source_fps)
    terms = period_terms(plan, latency)
    first, second = sorted([*terms.values(), 0.0], reverse=True)[:2]
    assume(first > 1.05 * second)
    metrics = compute_metrics(simulate(plan, latency))
    cycle, longest = metrics["critical_cycle"], max(terms, key=terms.get)
    assert cycle["period_s"] == pytest.approx(first, abs=1e-9)
    # the window's own period has what is left of the transient in it
    assert metrics["period_s"] == pytest.approx(first, rel=0.01)
    # alone, or joined to others only where the walk enters and leaves the window
    assert cycle["share"] > 0.9
    kinds = Counter((step["kind"], step["rank"]) for step in cycle["steps"])
    assert max(kinds.values()) == 1
    last = gpus - 1
    expected = {
        CAMERA: {("input", 0)},
        ROUND_TRIP: {("hop", r) for r in range(gpus)} | {("dit", r) for r in range(1, gpus)},
    } | {f"rank {r}": {("dit", r)} | ({("hop", r)} if gpus > 1 else set()) for r in range(gpus)}
    expected["rank 0"] |= {("encode", 0)}
    expected[f"rank {last}"] |= {("decode", last)}
    assert set(kinds) == expected[longest]
    assert cycle["turns"] == (max(1, gpus - 1) if longest == ROUND_TRIP else 1)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_in_the_cycle_and_nothing_else_changes_the_period(changes, seed):
    """So its edges are what waits for what, and not instants that happen to be the same."""
    draw = Random(seed)
    plan = make_plan(**{"gpus": draw.choice((2, 3, 4)), "steps": 2, "chunks": 90, **changes})
    services = [draw.uniform(0.004, 0.06) for _ in range(4)]
    latency = FlatLatency(services[0], services[1] / 6, *services[2:])
    period_s, cycle = found(plan, latency)
    assert cycle is not None
    by, slow = 1e-6, plan.scenario.deployment.slowdown
    for field, kind in [("encode_s", "encode"), ("decode_s", "decode"), ("hop_s", "hop")]:
        longer_s, _ = found(plan, replace(latency, **{field: getattr(latency, field) + by}))
        own = slow if kind != "hop" else {}
        count = sum(own.get(step["rank"], 1) for step in cycle["steps"] if step["kind"] == kind)
        assert longer_s - period_s == pytest.approx(count * by / cycle["chunks"], abs=1e-10)


def test_services_that_scatter_share_the_walk():
    plan = make_plan(gpus=4, steps=2, chunks=100)
    latency = FlatLatency(factors=(0.6, 1.0, 1.4))
    metrics = compute_metrics(simulate(plan, latency))
    cycle = metrics["critical_cycle"]
    assert 0.05 < cycle["share"] < 0.9
    assert cycle["period_s"] == pytest.approx(metrics["period_s"], rel=0.3)


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_services_that_take_no_time_leave_no_hole(gpus):
    latency = FlatLatency(encode_s=0.0, decode_s=0.0, hop_s=0.0)
    period_s, cycle = found(make_plan(gpus=gpus, steps=2, chunks=60), latency)
    assert cycle["period_s"] == pytest.approx(period_s, abs=1e-9)


def test_a_live_input_sets_the_pace_where_nothing_is_slower():
    _, cycle = found(make_plan(gpus=3, steps=2, chunks=40, source_fps=4.0), FlatLatency())
    assert cycle["text"] == "camera of session 0"
    assert cycle["seconds"] == pytest.approx(1.0)


def test_a_cycle_is_told_as_people_say_it():
    latency = FlatLatency(hop_s=0.03)
    _, cycle = found(make_plan(gpus=3, steps=2, chunks=60), latency)
    assert cycle["text"] == "dit on rank 2 -> decode on rank 2 -> hop 1 to 2"
    _, cycle = found(make_plan(gpus=3, steps=2, chunks=60), replace(latency, decode_s=0.001))
    assert cycle["text"] == "encode on rank 0 -> dit on rank 0 -> wrap hop 2 to 0"
    fast = FlatLatency(encode_s=0.001, decode_s=0.001, hop_s=0.03)
    _, cycle = found(make_plan(gpus=3, steps=2, chunks=60), fast)
    assert cycle["text"] == (
        "dit on rank 1 -> hop 1 to 2 -> dit on rank 2 -> wrap hop 2 to 0 -> hop 0 to 1"
    )
    assert (cycle["turns"], cycle["seconds"]) == (2, pytest.approx(3 * 0.03 + 2 * 0.02))


def test_what_repeats_is_told_once():
    a, b = (Place("dit", rank, -1, (0, 0)) for rank in (0, 1))
    assert told([a, b, a, b, b]) == "2 x (dit on rank 0 -> dit on rank 1) -> dit on rank 1"
    assert told([a, a, a]) == "3 x (dit on rank 0)"
    assert told([a, b]) == "dit on rank 0 -> dit on rank 1"


def test_a_measured_run_names_no_cycle():
    records = simulate(make_plan(gpus=2, chunks=30), FlatLatency())
    measured = replace(records, info=replace(records.info, source="measured"))
    assert compute_metrics(measured)["critical_cycle"] is None


def test_records_whose_instants_do_not_meet_name_no_cycle():
    records = simulate(make_plan(gpus=2, chunks=30), FlatLatency())
    for spans in ((), tuple(replace(s, ended_s=s.ended_s - 1e-4) for s in records.spans)):
        assert compute_metrics(replace(records, spans=spans))["critical_cycle"] is None


@pytest.mark.parametrize("gpus", [3, 4, 5])
def test_a_round_trip_in_bursts_has_its_period_exactly(gpus):
    """W - 1 items go round together: the window has whole rhythms of them."""
    latency = FlatLatency(encode_s=0.001, block_s=0.002, decode_s=0.001, hop_s=0.03)
    plan = make_plan(gpus=gpus, steps=1, chunks=200)
    metrics = compute_metrics(simulate(plan, latency))
    assert metrics["critical_cycle"]["turns"] == gpus - 1
    assert metrics["period_s"] == pytest.approx(period_terms(plan, latency)[ROUND_TRIP], abs=1e-9)
