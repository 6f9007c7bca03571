"""A rank dies: laws that hold whatever the deployment."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loss_cases import FREE, STATES, dying, emissions, shapes, under_way

from builders import FlatLatency, latencies, make_plan
from streamtwin.core.errors import RunError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records, Span
from streamtwin.sim.simulate import simulate

instants = st.floats(0, 3)
runs = settings(deadline=None, max_examples=40)


def still(shape: dict[str, Any], latency: FlatLatency) -> Records:
    """The run in which nothing goes wrong."""
    return simulate(make_plan(**shape), latency)


def cut(span: Span, at_s: float) -> tuple[int, str, float, float]:
    return span.rank, span.kind, span.began_s, min(span.ended_s, at_s)


@given(shapes(), latencies(), instants, STATES, st.floats(0, 1), st.data())
@runs
def test_nothing_changes_before_it_and_all_ends_with_it(
    shape: dict[str, Any], latency: FlatLatency, at_s: float, state: str, start_s: float, data: Any
) -> None:
    rank = data.draw(st.integers(0, shape["gpus"] - 1))
    calm = still(shape, latency)
    plan = dying(shape, rank=rank, at_s=at_s, state=state, start_s=start_s)
    records = simulate(plan, latency)
    assume(any(decision.chose == "died" for decision in records.decisions))
    before = [cut(span, at_s) for span in records.spans if span.began_s < at_s]
    assert before == [cut(span, at_s) for span in calm.spans if span.began_s < at_s]
    soon = {key: at for key, at in emissions(calm).items() if at < at_s}
    assert {key: at for key, at in emissions(records).items() if at < at_s} == soon
    decided = [one for one in calm.decisions if one.time_s < at_s]
    assert [one for one in records.decisions if one.time_s < at_s] == decided
    on_s = at_s + start_s
    # nobody decides while the ring stands, but that cameras' chunks are taken in or not, once each
    later = [one for one in records.decisions if at_s <= one.time_s < on_s]
    assert {one.family for one in later} <= {"admission", "trouble"}
    asked = Counter((d.session, d.chunk) for d in records.decisions if d.family == "admission")
    assert set(asked.values()) <= {1}
    works = [s for s in records.spans if s.kind != "recovery" and at_s < s.ended_s]
    assert all(span.ended_s >= on_s and span.began_s >= at_s for span in works)


@given(shapes(), latencies(), instants, STATES)
@runs
def test_each_chunk_comes_out_or_is_lost_once(
    shape: dict[str, Any], latency: FlatLatency, at_s: float, state: str
) -> None:
    calm = still(shape, latency)
    records = simulate(dying(shape, at_s=at_s, state=state), latency)
    assume(any(decision.chose == "died" for decision in records.decisions))
    keys = [(one.session, one.chunk) for one in records.chunks]
    assert sorted(keys) == sorted((one.session, one.chunk) for one in calm.chunks)
    lost = {(one.session, one.chunk) for one in records.chunks if one.outcome == "lost"}
    gone = under_way(calm, at_s)
    assert lost == (gone if state == "lost" else set())
    assert {one.outcome for one in records.chunks} <= {"emitted", "lost"}
    for session in range(shape["sessions"]):
        came = sorted((at, key) for key, at in emissions(records).items() if key[0] == session)
        assert [key for _, key in came] == sorted(key for _, key in came)
    # what came out was encoded and decoded to its end once, beside what ended with the rank
    done = Counter(
        (s.session, s.chunk) for s in records.spans if s.kind == "decode" and s.ended_s != at_s
    )
    assert done == Counter(emissions(records).keys())
    encoded = Counter((s.session, s.chunk) for s in records.spans if s.kind == "encode")
    again = {key for key, times in encoded.items() if times > 1}
    assert again <= (gone if state == "restored" else set())
    assert max(encoded.values()) <= 2


@given(shapes(chunks=24), latencies(), instants, STATES, st.floats(0, 1))
@runs
def test_idle_time_sums_up_and_standing_has_its_cause(
    shape: dict[str, Any], latency: FlatLatency, at_s: float, state: str, start_s: float
) -> None:
    records = simulate(dying(shape, at_s=at_s, state=state, start_s=start_s), latency)
    try:
        metrics = compute_metrics(records)
    except RunError:
        assume(False)
    for part in (*metrics["ranks"], *metrics["links"]):
        assert sum(part["bubbles"].values()) == pytest.approx(part["idle_s"], abs=1e-9)
    for time in metrics["ranks"]:
        services = [s for s in records.spans if s.rank == time["rank"] and s.kind in WORK]
        if any(s.began_s < at_s for s in services) and any(s.ended_s > at_s for s in services):
            assert time["bubbles"]["recovery"] >= start_s - 1e-9


WORK = ("encode", "dit", "decode")

apart = st.one_of(st.just(0.0), st.floats(0, 0.2), st.floats(0, 2))
"""Seconds from one recovery to the next death."""


@given(shapes(stream_batch=True, sessions=1), latencies(), instants, STATES, st.data())
@runs
def test_a_later_recovery_is_never_earlier_for_any_frame(
    shape: dict[str, Any], latency: FlatLatency, at_s: float, state: str, data: Any
) -> None:
    slow = data.draw(st.sampled_from(["detect_s", "start_s", "load_bytes_per_s"]))
    values = {"load_bytes_per_s": (1e300, 2e7)}.get(slow, (0.0, 0.7))
    sooner, later = (
        emissions(simulate(dying(shape, at_s=at_s, state=state, **{slow: value}), latency))
        for value in values
    )
    assert sooner.keys() == later.keys()
    assert all(later[key] >= sooner[key] - 1e-9 for key in sooner)


@pytest.mark.parametrize("at_s", [1.6, 1.9, 2.3])
def test_what_came_posted_ahead_is_noted_though_nobody_had_looked(at_s: float) -> None:
    """Rank 0 waits for its camera and looks for the result only then."""
    shape = {"gpus": 5, "steps": 1, "chunks": 16, "protocol": "overlap", "source_fps": 8.0}
    latency = FlatLatency(encode_s=0.01, block_s=0.01, decode_s=0.3, hop_s=0.1)
    records = simulate(dying(shape, at_s=at_s, start_s=1), latency)
    came = {cut(one, at_s) for one in still(shape, latency).spans if one.began_s < at_s}
    assert any(kind == "transfer" and rank == 0 for rank, kind, *_ in came)
    assert {cut(one, at_s) for one in records.spans if one.began_s < at_s} == came


def test_what_is_done_again_twice_was_taken_once() -> None:
    """A second death finds the same chunks under way that the first one found."""
    shape = {"gpus": 3, "chunks": 30}
    calm = still(shape, FlatLatency())
    death = {**FREE, "rank": 0, "state": "restored", "start_s": 1}
    deaths = [{**death, "at_s": at_s} for at_s in (1.0, 2.05)]
    records = simulate(make_plan(**shape, trouble={"lost_ranks": deaths}), FlatLatency())
    both = [d.saw["chunks_again"] for d in records.decisions if d.chose == "died"]
    assert min(both) > 0
    taken = {one.chunk: one.taken_s for one in calm.chunks}
    again = [one for one in records.chunks if taken[one.chunk] < 1.0 <= one.emitted_s]
    assert len(again) == both[0]
    assert all(one.taken_s == one.released_s == taken[one.chunk] for one in again)


def doubled(latency: FlatLatency) -> FlatLatency:
    """Every service takes twice as long."""
    return FlatLatency(
        2 * latency.encode_s, 2 * latency.block_s, 2 * latency.decode_s, 2 * latency.hop_s
    )


@given(shapes(), latencies(), instants, STATES)
@runs
def test_double_all_times_doubles_all(
    shape: dict[str, Any], latency: FlatLatency, at_s: float, state: str
) -> None:
    death = {"at_s": at_s, "state": state, "start_s": 0.3, "detect_s": 0.1, "rank": 0}
    rates = {"load_bytes_per_s": 2.0**27, "restore_bytes_per_s": 2.0**29}
    once = simulate(dying(shape, **death, **rates), latency)
    fps = shape["source_fps"]
    slow = {**shape, "source_fps": fps and fps / 2}
    times = {key: 2 * value if key.endswith("_s") else value for key, value in death.items()}
    halves = {key: value / 2 for key, value in rates.items()}
    twice = simulate(dying(slow, **times, **halves), doubled(latency))
    assert [(s.kind, s.rank, 2 * s.began_s, 2 * s.ended_s) for s in once.spans] == [
        (s.kind, s.rank, s.began_s, s.ended_s) for s in twice.spans
    ]
    assert {key: 2 * at for key, at in emissions(once).items()} == emissions(twice)
    told = [
        [(d.time_s, d.chose) for d in run.decisions if d.family == "trouble"]
        for run in (once, twice)
    ]
    assert [(2 * at, chose) for at, chose in told[0]] == told[1]


def test_without_costs_only_what_was_under_way_changes() -> None:
    """One card with time to spare: behind the chunk that is done again all is as it was."""
    shape = {"gpus": 1, "steps": 1, "chunks": 30, "source_fps": 16.0}
    latency = FlatLatency()
    calm, records = (
        still(shape, latency),
        simulate(dying(shape, at_s=3.3, state="restored"), latency),
    )
    (gone,) = under_way(calm, 3.3)
    before, after = emissions(calm), emissions(records)
    assert after.pop(gone) > before.pop(gone)
    assert after == before
    assert [s for s in records.spans if s.began_s > 3.6] == [
        s for s in calm.spans if s.began_s > 3.6
    ]


@given(shapes(chunks=20), latencies(), st.floats(0, 1), apart, STATES, STATES)
@runs
def test_a_ring_may_lose_ranks_again_and_again(
    shape: dict[str, Any], latency: FlatLatency, at_s: float, apart_s: float, first: str, then: str
) -> None:
    deaths = [
        {**FREE, "rank": 0, "at_s": at_s, "state": first, "start_s": 0.2},
        {**FREE, "rank": 0, "at_s": at_s + 0.2 + apart_s, "state": then, "start_s": 0.2},
    ]
    plan = make_plan(**shape, trouble={"lost_ranks": deaths})
    records = simulate(plan, latency)
    assert {one.outcome for one in records.chunks} <= {"emitted", "lost"}
    assert len(records.chunks) == shape["chunks"] * shape["sessions"]
    for one in records.chunks:
        assert one.emitted_s is None or one.released_s <= one.taken_s < one.emitted_s
    both = [d for d in records.decisions if d.chose == "died"]
    calm = still(shape, latency)
    taken = {(one.session, one.chunk): one.taken_s for one in calm.chunks}
    for one in records.chunks:
        if (one.session, one.chunk) in under_way(calm, at_s):
            assert one.taken_s == taken[one.session, one.chunk]
    lost = sum(one.outcome == "lost" for one in records.chunks)
    assert lost == sum(d.saw["chunks_lost"] for d in both)
    backwards = simulate(
        make_plan(**shape, trouble={"lost_ranks": deaths[::-1]}), latency
    )  # the order in which a file lists them does not matter
    assert backwards.spans == records.spans
