"""Idle time of ranks and links: all of it has a cause, and the cause is what sets the pace."""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import FlatLatency, latencies, make_plan
from streamtwin.core.bubbles import link_times, rank_times
from streamtwin.core.closed_period import CAMERA, ROUND_TRIP, period_terms
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.policies import batching
from streamtwin.core.records import SERVICES
from streamtwin.core.steady import emitted_chunks, steady_window
from streamtwin.sim.simulate import simulate

seconds = st.floats(0.001, 0.1)
any_latency = latencies(
    hop_s=st.floats(0.0001, 0.05), factors=st.sampled_from([(), (0.5, 1.0, 3.0)])
)


@st.composite
def any_plans(draw):
    """Rings of every protocol and placement, with sessions, a slow rank, a camera, moves."""
    gpus = draw(st.integers(1, 6))
    changes = {
        "gpus": gpus,
        "steps": draw(st.integers(1, 3)),
        "stream_batch": draw(st.booleans()),
        "protocol": draw(st.sampled_from(["sdv2", "overlap"])),
        "sessions": draw(st.integers(1, 3)),
        "lanes": draw(st.sampled_from(["time", "sessions"])),
        "source_fps": draw(st.sampled_from([None, 8.0, 60.0])),
        "chunks": draw(st.integers(6, 20)),
        "slowdown": draw(st.sampled_from([{}, {gpus - 1: 2.5}])),
    }
    if gpus >= 3 and draw(st.booleans()):
        changes["vae_placement"] = "dedicated"
    else:
        changes["decode"] = draw(st.sampled_from([None, "before_send"]))
    if gpus == 2:
        changes["partition"] = {"schedule": {8: [4, 2], 14: [2, 4]}}
    return make_plan(**changes)


def bounds(bubbles):
    return [(bubble.began_s, bubble.ended_s) for bubble in bubbles]


@given(any_plans(), any_latency)
@settings(max_examples=60, deadline=None)
def test_every_idle_second_of_ranks_and_links_has_one_cause(plan, latency):
    records = simulate(plan, latency)
    steady = steady_window(records).interval
    for time in (*rank_times(records, steady), *link_times(records, steady)):
        causes = time.seconds_by_cause()
        assert time.busy_s + sum(causes.values()) == pytest.approx(time.span_s, abs=1e-9)
        assert time.idle_s == pytest.approx(sum(causes.values()), abs=1e-9)
        assert min(causes.values()) >= 0
        for (_, ended_s), (began_s, _) in pairwise(bounds(time.bubbles)):
            assert ended_s <= began_s
    for time in rank_times(records, steady):
        # virtual processes have no time of their own between services
        assert time.seconds_by_cause()["host"] == pytest.approx(0.0, abs=1e-9)
        # nor does this policy hold anything back
        assert time.seconds_by_cause()["policy_wait"] == 0
        busy = [s for s in records.spans if s.rank == time.rank and s.kind in SERVICES]
        for began_s, ended_s in bounds(time.bubbles):
            assert not any(s.began_s < ended_s and began_s < s.ended_s for s in busy)


@given(any_plans(), any_latency)
@settings(max_examples=20, deadline=None)
def test_links_are_busy_with_what_they_carried(plan, latency):
    records = simulate(plan, latency)
    links = compute_metrics(records)["links"]
    carried = {
        (span.peer, span.rank)
        for span in records.spans
        if span.kind == ("transfer" if plan.scenario.deployment.overlaps else "hop")
    }
    assert {(link["from_rank"], link["to_rank"]) for link in links} == carried
    for link in links:
        assert link["busy_s"] + link["idle_s"] == pytest.approx(link["span_s"])
        assert sum(link["bubbles"].values()) == pytest.approx(link["idle_s"], abs=1e-9)


EXPLAINED = {
    CAMERA: {"input"},
    ROUND_TRIP: {"upstream", "downstream"},
}


@given(
    st.builds(
        FlatLatency, encode_s=seconds, block_s=st.floats(0.002, 0.03), decode_s=seconds,
        hop_s=st.floats(0.001, 0.05),
    ),
    st.integers(2, 6),
    st.integers(1, 3),
    st.sampled_from([None, 4.0]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_idle_time_is_charged_to_what_sets_the_pace(latency, gpus, steps, source_fps):
    """Wherever it is idle, and however many ranks lie between it and the one that is slow."""
    plan = make_plan(gpus=gpus, steps=steps, chunks=90, source_fps=source_fps)
    terms = period_terms(plan, latency)
    first, second = sorted(terms.values(), reverse=True)[:2]
    assume(first > 1.1 * second)
    longest = max(terms, key=terms.get)
    records = simulate(plan, latency)
    done = emitted_chunks(records)
    late = (done[60].emitted_s, done[80 - plan.tail_chunks].emitted_s)
    explained = EXPLAINED.get(longest, {"imbalance"}) | {"communication", "fill_drain"}
    idle_s = 0.0
    for time in rank_times(records, late):
        found = {cause for cause, own_s in time.seconds_by_cause().items() if own_s > 1e-9}
        assert found <= explained, longest
        idle_s += time.seconds_by_cause()["fill_drain"] - time.idle_s
        if longest == f"rank {time.rank}":
            assert found <= {"communication", "fill_drain"}
    assert idle_s < 0
    for link in link_times(records, late):
        found = {cause for cause, own_s in link.seconds_by_cause().items() if own_s > 1e-9}
        assert found <= explained, longest


def test_the_slow_rank_is_blamed_by_ranks_that_are_no_neighbours():
    plan = make_plan(gpus=5, steps=2, chunks=80, slowdown={2: 8.0})
    metrics = compute_metrics(simulate(plan, FlatLatency()))
    assert metrics["critical_cycle"]["text"] == "dit on rank 2 -> hop 1 to 2"
    for rank in metrics["ranks"]:
        others = [rank["bubbles"][cause] for cause in ("upstream", "downstream", "input")]
        assert sum(others) == 0
        assert (rank["bubbles"]["imbalance"] > 0) == (rank["rank"] != 2)


def test_a_policy_that_holds_chunks_back_is_blamed_for_it(monkeypatch):
    """It waits until a chunk of each of two sessions is there; the second's camera is later."""

    def together(view):
        return 2 if view.waiting == 2 else 0

    visits = [{}, {"join_s": 0.12}]
    shape = {"gpus": 1, "steps": 1, "sessions": 2, "visits": visits, "source_fps": 16.0}
    shape |= {"batching": {"batch": 2}, "chunks": 30}
    free = compute_metrics(simulate(make_plan(**shape), FlatLatency(decode_s=0.001)))
    assert free["ranks"][0]["bubbles"]["policy_wait"] == 0
    monkeypatch.setitem(batching.BATCHING, "fixed", together)
    held = compute_metrics(simulate(make_plan(**shape), FlatLatency(decode_s=0.001)))
    bubbles = held["ranks"][0]["bubbles"]
    assert bubbles["policy_wait"] > 5 * 0.05
    assert bubbles["input"] > 0
