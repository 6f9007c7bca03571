"""Laws of every run that the other tests of laws leave out."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import latencies, make_plan
from streamtwin.core.records import SERVICES
from streamtwin.core.steady import emitted_chunks
from streamtwin.sim.simulate import simulate

any_latency = latencies(factors=st.sampled_from([(), (0.5, 1.0, 3.0)]))
shapes = st.fixed_dictionaries(
    {
        "gpus": st.integers(3, 5),
        "steps": st.integers(1, 3),
        "stream_batch": st.booleans(),
        "protocol": st.sampled_from(["sdv2", "overlap"]),
        "vae_placement": st.sampled_from(["edge", "dedicated"]),
        "sessions": st.integers(1, 2),
        "lanes": st.sampled_from(["time", "sessions"]),
        "chunks": st.integers(5, 16),
        "admission": st.sampled_from(["accept_all", "drop_oldest", "drop_newest"]),
        "source_fps": st.sampled_from([None, 8.0, 64.0]),
        "seed": st.integers(0, 3),
    }
)


def in_flight(ups, downs):
    """Time-average of a counter that *ups* raise and *downs* lower, from the first to the last."""
    events = sorted([(at_s, 1) for at_s in ups] + [(at_s, -1) for at_s in downs])
    area, count = 0.0, 0
    for (at_s, step), (next_s, _) in itertools.pairwise(events):
        count += step
        assert count >= 0
        area += count * (next_s - at_s)
    return area / (events[-1][0] - events[0][0])


@given(shapes, any_latency)
@settings(max_examples=50, deadline=None)
def test_littles_law_in_every_run(shape, latency):
    """Chunks in the pipeline, counted by its services, are throughput times latency by its chunks.

    From empty to empty the law holds exactly. One side is read off spans, the other off records of
    chunks, which other hands write.
    """
    records = simulate(make_plan(**shape), latency)
    done = emitted_chunks(records)
    assume(len(done) >= 2)
    spans = {kind: [s for s in records.spans if s.kind == kind] for kind in ("encode", "decode")}
    inside = in_flight([s.began_s for s in spans["encode"]], [s.ended_s for s in spans["decode"]])
    elapsed_s = max(c.emitted_s for c in done) - min(c.taken_s for c in done)
    latency_s = sum(c.emitted_s - c.taken_s for c in done) / len(done)
    assert inside == pytest.approx(len(done) / elapsed_s * latency_s, rel=1e-9)
    waiting = in_flight([c.released_s for c in done], [c.emitted_s for c in done])
    whole_s = max(c.emitted_s for c in done) - min(c.released_s for c in done)
    age_s = sum(c.latency_s for c in done) / len(done)
    assert waiting == pytest.approx(len(done) / whole_s * age_s, rel=1e-9)


@given(shapes, any_latency, st.sampled_from([2.0, 0.25]))
@settings(max_examples=30, deadline=None)
def test_twice_the_unit_of_time_is_twice_every_instant(shape, latency, unit):
    """To the last bit, cameras and sessions that join later included: powers of two do not round."""
    fps = shape["source_fps"]
    visits = [{}, {"join_s": 1.5}][: shape["sessions"]]
    slower = replace(
        latency,
        encode_s=unit * latency.encode_s,
        block_s=unit * latency.block_s,
        decode_s=unit * latency.decode_s,
        hop_s=unit * latency.hop_s,
    )
    scaled = [visit and {"join_s": unit * visit["join_s"]} for visit in visits]
    base = simulate(make_plan(**{**shape, "visits": visits}), latency)
    changed = {**shape, "visits": scaled, "source_fps": fps and fps / unit}
    other = simulate(make_plan(**changed), slower)
    assert len(base.spans) == len(other.spans)
    for one, two in zip(base.spans, other.spans, strict=True):
        assert (two.began_s, two.ended_s) == (unit * one.began_s, unit * one.ended_s)
        assert (two.rank, two.kind, two.item) == (one.rank, one.kind, one.item)
    for one, two in zip(base.chunks, other.chunks, strict=True):
        assert two.outcome == one.outcome
        assert two.emitted_s == (one.emitted_s and unit * one.emitted_s)


@given(shapes, any_latency)
@settings(max_examples=40, deadline=None)
def test_every_chunk_is_served_once_and_accounted_for(shape, latency):
    """Conservation: released = emitted + dropped + in flight, and each emitted one decoded once."""
    plan = make_plan(**shape)
    records = simulate(plan, latency)
    outcomes = Counter(chunk.outcome for chunk in records.chunks)
    assert outcomes.total() == plan.scenario.all_chunks
    assert outcomes["in_flight"] == 0
    for kind in ("encode", "decode"):
        served = Counter((s.session, s.chunk) for s in records.spans if s.kind == kind)
        assert set(served.values()) <= {1}
        assert set(served) == {
            (c.session, c.chunk) for c in records.chunks if c.outcome == "emitted"
        }


@given(shapes, any_latency)
@settings(max_examples=40, deadline=None)
def test_no_rank_works_faster_than_its_services_allow(shape, latency):
    """Capacity: work of a rank fits between its first and its last instant, links carry one at a time."""
    records = simulate(make_plan(**shape), latency)
    end_s = max(span.ended_s for span in records.spans)
    for rank in {span.rank for span in records.spans}:
        work = [s for s in records.spans if s.rank == rank and s.kind in SERVICES]
        assert sum(span.seconds for span in work) <= end_s + 1e-9
    links: dict[tuple[int, int], list] = {}
    for span in records.transfers:
        links.setdefault((span.peer, span.rank), []).append(span)
    for carried in links.values():
        carried.sort(key=lambda span: span.began_s)
        for before, after in itertools.pairwise(carried):
            assert before.ended_s <= after.began_s


@given(shapes, any_latency, st.sampled_from(["encode_s", "block_s", "decode_s", "hop_s"]))
@settings(max_examples=40, deadline=None)
def test_any_faster_service_makes_no_chunk_later(shape, latency, what):
    """Decisions fixed: all chunks enter, in lanes that are never left empty."""
    assume(shape["sessions"] == 1)
    shape = {**shape, "admission": "accept_all", "stream_batch": True}
    steady = replace(latency, factors=())
    faster = replace(steady, **{what: 0.7 * getattr(steady, what)})
    plan = make_plan(**shape)
    for slow, fast in zip(
        simulate(plan, steady).chunks, simulate(plan, faster).chunks, strict=True
    ):
        assert fast.emitted_s <= slow.emitted_s + 1e-9
