"""Laws of every run under load: conservation, order, Little's law, and linear cost in sessions."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.layout import lay_out
from streamtwin.core.little import in_pipeline
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import ChunkRecord, Records
from streamtwin.core.roster import with_roster
from streamtwin.core.run_info import run_info
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.sessions import clock_of
from streamtwin.sim.simulate import simulate

latencies = st.builds(
    FlatLatency,
    encode_s=st.floats(0.001, 0.05),
    block_s=st.floats(0.0005, 0.02),
    decode_s=st.floats(0.001, 0.05),
    hop_s=st.floats(0.0001, 0.01),
)


@st.composite
def loads(draw: st.DrawFn) -> Plan:
    """Deployments under open-loop load with everything at once."""
    process = draw(st.sampled_from(["fixed", "poisson", "bursts"]))
    arrivals = {"process": process, "rate_per_s": draw(st.floats(0.3, 5)), "max_sessions": 8}
    arrivals |= {"burst_size": 3} if process == "bursts" else {}
    arrivals |= {"lengths": draw(st.sampled_from(["fixed", "exponential"]))}
    phases = draw(
        st.sampled_from([None, {"active_s": 0.6, "idle_s": 0.5, "lengths": "exponential"}])
    )
    workload = {
        "arrivals": arrivals,
        "phases": phases,
        "camera": {
            "jitter_s": draw(st.sampled_from([0, 0.01])),
            "loss": draw(st.sampled_from([0, 0.1])),
        },
        "classes": {"a": {"share": 0.3, "source_fps": 24, "priority": 1}, "b": {"share": 0.7}},
        "source_fps": 12,
        "chunks": 8,
        "max_waiting": 2,
        "admission": draw(
            st.sampled_from(["accept_all", "drop_newest", "drop_oldest", "keep_newest"])
        ),
        "dispatch": draw(st.sampled_from(["fifo", "earliest_deadline", "priority"])),
    }
    deployment = {
        "gpus": draw(st.integers(1, 4)),
        "steps": draw(st.integers(1, 3)),
        "stream_batch": draw(st.booleans()),
        "lanes": draw(st.sampled_from(["time", "sessions"])),
        "batching": {"batch": draw(st.integers(1, 2))},
    }
    data = {"workload": workload, "deployment": deployment, "seed": draw(st.integers(0, 99))}
    return lay_out(check_scenario(data, "test"))


@given(loads(), latencies)
@settings(deadline=None)
def test_every_chunk_is_emitted_or_dropped_for_a_reason(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    per_session = Counter(chunk.session for chunk in records.chunks)
    for session in range(plan.scenario.workload.sessions):
        assert per_session[session] == plan.scenario.chunks_of(session)
    outcomes = Counter(chunk.outcome for chunk in records.chunks)
    assert set(outcomes) <= {"emitted", "dropped"}
    reasons = {"drop_new": lambda _: 1, "drop_oldest": lambda _: 1}
    reasons["drop_waiting"] = lambda saw: int(saw["waiting"])
    lost = sum(reasons[d.chose](d.saw) for d in records.decisions if d.chose in reasons)
    assert outcomes["dropped"] == lost


@given(loads(), latencies)
@settings(deadline=None)
def test_chunks_of_a_session_are_strictly_in_order(plan: Plan, latency: FlatLatency) -> None:
    """Released, taken and emitted in the order of their numbers, and each after the other."""
    records = simulate(plan, latency)
    for session in range(plan.scenario.workload.sessions):
        own = [c for c in records.chunks if c.session == session and c.outcome == "emitted"]
        own.sort(key=lambda chunk: chunk.chunk)
        for chunk in own:
            assert plan.scenario.visit(session).join_s <= chunk.released_s
            assert chunk.released_s <= chunk.taken_s + 1e-9
            assert chunk.taken_s < chunk.emitted_s
        for before, after in pairwise(own):
            assert before.released_s < after.released_s
            assert before.taken_s < after.taken_s
            assert before.emitted_s < after.emitted_s


@given(loads(), latencies)
@settings(deadline=None)
def test_littles_law_holds_in_every_run(plan: Plan, latency: FlatLatency) -> None:
    """From the first chunk to the last, when the pipeline is empty, it is exact: N = rate x time.

    The number is counted from the spans of the services, rate and time from the chunks.
    """
    records = simulate(plan, latency)
    done = [chunk for chunk in records.chunks if chunk.outcome == "emitted"]
    began_s = min(chunk.taken_s for chunk in done)
    ended_s = max(chunk.emitted_s for chunk in done)
    counted = in_pipeline(seen_by_services(records), (began_s, ended_s))["mean_chunks"]
    rate_per_s = len(done) / (ended_s - began_s)
    mean_s = sum(chunk.emitted_s - chunk.taken_s for chunk in done) / len(done)
    # rows of one turn are taken together and encoded one after the other
    early = sum(chunk.taken_s for chunk in done) - sum(c.taken_s for c in seen_by_services(records))
    assert counted + early / (began_s - ended_s) == pytest.approx(rate_per_s * mean_s, rel=1e-9)


def seen_by_services(records: Records) -> list[ChunkRecord]:
    """Each chunk from the begin of its encoding to the end of its decoding."""
    began = {(s.session, s.chunk): s.began_s for s in records.spans if s.kind == "encode"}
    ended = {(s.session, s.chunk): s.ended_s for s in records.spans if s.kind == "decode"}
    return [ChunkRecord(*key, 0.0, began[key], ended[key]) for key in began]


@pytest.mark.parametrize("source_fps", [None, 16.0])
@pytest.mark.parametrize(("gpus", "steps"), [(1, 1), (1, 2), (2, 2), (3, 2)])
def test_metrics_keep_littles_law_in_the_steady_window(
    gpus: int, steps: int, source_fps: float | None
) -> None:
    """A window cuts some stays off at both ends: no more than what is inside there."""
    plan = make_plan(gpus=gpus, steps=steps, source_fps=source_fps, chunks=80, sessions=2)
    metrics = compute_metrics(simulate(plan, FlatLatency()))
    found = metrics["in_pipeline"]
    began_s, ended_s = metrics["steady_window_s"]
    ends = 2 * found["mean_s"] * (plan.lanes * plan.max_rows + 1) / (ended_s - began_s)
    assert ends < 0.5 * found["mean_chunks"]
    assert found["mean_chunks"] == pytest.approx(found["rate_per_s"] * found["mean_s"], abs=ends)


def test_reading_and_judging_sessions_costs_in_proportion_to_their_number() -> None:
    """Drawing the sessions and working out their figures: a fitted exponent near one."""
    sizes, seconds = [125, 250, 500, 1000], []
    for size in sizes:
        began_s = process_time()
        plan = crowd(size)
        compute_metrics(served_at_once(plan))
        seconds.append(process_time() - began_s)
    exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    assert exponent < 1.4


def crowd(sessions: int) -> Plan:
    """A crowd of two classes, with phases."""
    workload = {
        "arrivals": {"process": "poisson", "rate_per_s": 9, "max_sessions": sessions},
        "classes": {"a": {"share": 0.5}, "b": {"share": 0.5, "source_fps": 8}},
        "phases": {"active_s": 1, "idle_s": 1},
        "source_fps": 16,
        "chunks": 12,
    }
    return lay_out(check_scenario({"workload": workload, "deployment": {"steps": 1}}, "test"))


def served_at_once(plan: Plan) -> Records:
    """Records as if each chunk were out half a second after its release."""
    chunks = []
    for session in range(plan.scenario.workload.sessions):
        clock = clock_of(plan.scenario, session)
        for chunk in range(plan.scenario.chunks_of(session)):
            at_s = clock.released_s(chunk)
            about = {"taken_s": at_s, "emitted_s": at_s + 0.5, "frames": 4, "outcome": "emitted"}
            chunks.append(ChunkRecord(session, chunk, at_s, **about))
    info = run_info(plan, "simulated", {}, [{} for _ in plan.stages])
    return Records(info, (), tuple(chunks), ())


def test_a_roster_is_made_once() -> None:
    plan = crowd(50)
    assert with_roster(plan.scenario, Path()) is plan.scenario
