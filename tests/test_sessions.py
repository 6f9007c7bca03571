"""Several sessions share the ring: each gets what it would get alone, in order, and leaves nothing."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.core.ring import Item
from streamtwin.sim.simulate import simulate
from streamtwin.sim.station import Station

visits = st.lists(
    st.fixed_dictionaries(
        {"join_s": st.sampled_from([0.0, 0.0, 0.11, 0.7]), "chunks": st.integers(3, 9)}
    ),
    max_size=3,
)


@st.composite
def shared_plans(draw: st.DrawFn) -> Plan:
    sessions = draw(st.integers(1, 4))
    return make_plan(
        gpus=draw(st.integers(1, 4)),
        steps=draw(st.integers(1, 3)),
        stream_batch=draw(st.booleans()),
        chunk_latents=draw(st.integers(1, 2)),
        lanes=draw(st.sampled_from(["time", "sessions"])),
        batching={"batch": draw(st.integers(1, 3))},
        source_fps=draw(st.sampled_from([None, 12.0, 60.0])),
        sessions=sessions,
        visits=draw(visits)[:sessions],
        chunks=6,
    )


def followed(plan: Plan, latency: FlatLatency) -> tuple[dict[int, list[Item]], object]:
    """A simulated run: the items that each rank passed through its blocks, and its records."""
    passed = defaultdict(list)
    forward = Station.forward

    def noted(station: Station, item: Item):
        passed[station.stage.rank].append(item)
        yield from forward(station, item)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Station, "forward", noted)
        records = simulate(plan, latency)
    return passed, records


@given(shared_plans(), st.floats(0.001, 0.05), st.floats(0.001, 0.05))
@settings(deadline=None)
def test_every_session_passes_every_step_once_and_in_order(
    plan: Plan, encode_s: float, decode_s: float
) -> None:
    passed, records = followed(plan, FlatLatency(encode_s, 0.003, decode_s, 0.001))
    scenario = plan.scenario
    for items in passed.values():
        seen = defaultdict(list)
        for item in items:
            assert len(item.rows) <= plan.max_rows
            assert len({(row.session, row.step) for row in item.rows}) == len(item.rows)
            assert item.first == (len(item.rows) == 1 and item.rows[0].ordinal == 0)
            for row in item.rows:
                seen[row.session, row.step].append(row.ordinal)
        expected = {
            (session, step): list(range(scenario.chunks_of(session)))
            for session in range(scenario.workload.sessions)
            for step in range(plan.steps)
        }
        assert seen == expected
    assert all(chunk.outcome == "emitted" for chunk in records.chunks)
    for session in range(scenario.workload.sessions):
        emitted = [c.emitted_s for c in records.chunks if c.session == session]
        assert emitted == sorted(emitted)
        assert len(emitted) == scenario.chunks_of(session)


@given(shared_plans())
@settings(deadline=None)
def test_nothing_of_a_session_comes_before_its_first_chunk_is_done_or_after_it_has_left(
    plan: Plan,
) -> None:
    passed, _ = followed(plan, FlatLatency())
    for items in passed.values():
        begun, gone = set(), []
        for item in items:
            for row in item.rows:
                assert row.session not in gone
                assert row.ordinal == 0 or row.session in begun
                if row.ordinal == 0 and row.step == plan.steps - 1:
                    begun.add(row.session)
            gone += item.leaving
        assert sorted(gone) == list(range(plan.scenario.workload.sessions))


@given(shared_plans())
@settings(deadline=None)
def test_a_lane_of_its_own_carries_no_other_session(plan: Plan) -> None:
    passed, _ = followed(plan, FlatLatency())
    if plan.scenario.deployment.lanes == "sessions":
        for item in passed[0]:
            assert len({row.session % plan.ranks for row in item.rows}) == 1


@given(st.integers(2, 4), st.integers(1, 4))
@settings(deadline=None)
def test_a_live_session_in_a_lane_of_its_own_waits_for_its_own_chunks_only(
    ranks: int, steps: int
) -> None:
    """Latency of a live stream batch: N - 1 chunk times in a lane of its own, W times that in time."""
    latency_s, fast = {}, FlatLatency(1e-4, 1e-5, 1e-4, 1e-5)
    for lanes in ("time", "sessions"):
        plan = make_plan(gpus=ranks, steps=steps, lanes=lanes, source_fps=8, chunks=40)
        latency_s[lanes] = compute_metrics(simulate(plan, fast))["latency_s"]["p50"]
    assert latency_s["sessions"] == pytest.approx((steps - 1) * 0.5, abs=0.02)
    # the last rank of a ring in time holds what is done until its result is asked for
    held = max(0, ranks - 2)
    assert latency_s["time"] == pytest.approx(((steps - 1) * ranks + held) * 0.5, abs=0.02)


@pytest.mark.parametrize(("gpus", "steps"), [(1, 2), (1, 4), (2, 2), (3, 4)])
def test_a_session_that_joins_holds_the_others_up_by_a_turn_at_a_time(
    gpus: int, steps: int
) -> None:
    """Turns of the start lane alternate with the others: no gap is longer than two periods."""
    shape = {"gpus": gpus, "steps": steps, "chunks": 40}
    join = [{}, {"join_s": 2.0, "chunks": 3}]
    alone = simulate(make_plan(**shape), FlatLatency())
    beside = simulate(make_plan(**shape, sessions=2, visits=join), FlatLatency())
    assert min(c.taken_s for c in beside.chunks if c.session == 1) >= 2.0
    assert longest_gap_s(beside) < 2.01 * longest_gap_s(alone)


def longest_gap_s(records: Records) -> float:
    """Longest time between two chunks of session 0, once it runs steadily."""
    times = [c.emitted_s for c in records.chunks if c.session == 0][10:]
    return max(after - before for before, after in pairwise(times))


def test_several_sessions_have_figures_of_their_own_and_together() -> None:
    plan = make_plan(gpus=2, sessions=3, chunks=30, visits=[{}, {}, {"join_s": 0.5}])
    metrics = compute_metrics(simulate(plan, FlatLatency()))
    assert [one["session"] for one in metrics["sessions"]] == [0, 1, 2]
    assert metrics["fps"] == min(one["fps"] for one in metrics["sessions"])
    assert metrics["ttff_s"] == max(one["ttff_s"] for one in metrics["sessions"])
    assert metrics["fps_total"] * metrics["period_s"] == pytest.approx(4)
    assert metrics["latency_s"]["count"] == sum(
        one["latency_s"]["count"] for one in metrics["sessions"]
    )
    for rank in metrics["ranks"]:
        assert sum(rank["bubbles"].values()) == pytest.approx(rank["idle_s"], abs=1e-9)


def test_a_larger_batch_serves_more_sessions_where_rows_are_cheap() -> None:
    """With a pass that costs the same for any number of rows, two rows a turn are twice the rate."""
    rates = {}
    for batch in (1, 2):
        plan = make_plan(gpus=1, steps=1, sessions=4, chunks=40, batching={"batch": batch})
        fast = FlatLatency(encode_s=1e-4, block_s=0.02, decode_s=1e-4)
        rates[batch] = compute_metrics(simulate(plan, fast))["fps_total"]
    assert rates[2] == pytest.approx(2 * rates[1], rel=0.02)
