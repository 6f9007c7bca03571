"""A pipeline that starts cold: who waits for the weights, and for how long."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import dying, emissions, shapes

from builders import FlatLatency, latencies, make_plan
from streamtwin.cli.checks import check_can_run
from streamtwin.core.decision_log import replayed
from streamtwin.core.errors import ScenarioError
from streamtwin.core.log_checks import check_whole, scenario_of
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.recovery import PROVENANCE, begins_s, cold_start_of, weights_bytes
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.screen import walks
from streamtwin.sim.simulate import simulate

runs = settings(deadline=None, max_examples=40)

DYADIC = FlatLatency(encode_s=0.125, block_s=0.0625, decode_s=0.25, hop_s=0.03125)
"""Sums of such seconds are exact."""


def cold(shape: dict[str, Any], **start: Any):
    """The plan of *shape* that starts cold; loading takes no time unless *start* says so."""
    return make_plan(
        **shape, trouble={"cold_start": {"start_s": 0, "load_bytes_per_s": 1e300, **start}}
    )


@pytest.mark.parametrize("gpus", [1, 3])
def test_a_file_is_later_by_exactly_as_much(gpus: int) -> None:
    shape = {"gpus": gpus, "chunks": 30}
    warm, late = (simulate(plan, DYADIC) for plan in (make_plan(**shape), cold(shape, start_s=2.5)))
    assert emissions(late) == {key: 2.5 + at for key, at in emissions(warm).items()}
    assert [replace(s, began_s=s.began_s + 2.5, ended_s=s.ended_s + 2.5) for s in warm.spans] == [
        span for span in late.spans if span.kind != "recovery"
    ]
    first_s, then_s = (compute_metrics(one)["ttff_s"] for one in (warm, late))
    assert then_s == first_s + 2.5


@given(shapes(), latencies(), st.floats(0, 2))
@runs
def test_both_engines_give_the_same(
    shape: dict[str, Any], latency: FlatLatency, start_s: float
) -> None:
    events, recurrence = (
        simulate(cold(shape, start_s=start_s), latency, engine=engine)
        for engine in ("simpy", "recurrence")
    )
    assert replace(recurrence, info=events.info) == events


def test_weights_take_their_bytes_over_the_rate_and_the_largest_rank_counts() -> None:
    plan = cold({"gpus": 3}, start_s=1, load_bytes_per_s=1e7)
    each = [weights_bytes(plan, rank) for rank in range(3)]
    assert len(set(each)) > 1
    assert begins_s(plan) == 1 + max(each) / 1e7
    (told,) = compute_metrics(simulate(plan, FlatLatency()))["recoveries"]
    assert told["rank"] == each.index(max(each))
    assert (told["state"], told["died_s"], told["weights_bytes"]) == ("cold_start", None, max(each))
    assert (told["started_s"], told["resumed_s"]) == (1, begins_s(plan))
    spans = [s for s in simulate(plan, FlatLatency()).spans if s.kind == "recovery"]
    assert [(s.rank, s.began_s, s.ended_s, s.size_bytes) for s in spans] == [
        (rank, 0.0, begins_s(plan), each[rank]) for rank in range(3)
    ]


def test_a_slower_disk_makes_the_first_frame_later_and_a_warm_pipeline_none() -> None:
    shape = {"gpus": 2, "chunks": 60, "source_fps": 16.0}
    found = [
        compute_metrics(simulate(cold(shape, load_bytes_per_s=rate), FlatLatency()))
        for rate in (1e300, 1e7, 5e6)
    ]
    firsts = [one["ttff_s"] for one in found]
    assert firsts == sorted(firsts)
    assert firsts[2] > firsts[1] + 0.5 * begins_s(cold(shape, load_bytes_per_s=1e7))
    warm = compute_metrics(simulate(make_plan(**shape), FlatLatency()))
    for one in found:
        assert one["ttff_warm_s"] == pytest.approx(warm["ttff_warm_s"], rel=0.01)


def test_a_camera_does_not_wait_for_weights() -> None:
    """Chunks of 4 frames at 16 frames/s: in 3 s 12 come, of which 2 may wait."""
    camera = {"gpus": 1, "steps": 1, "chunks": 40, "source_fps": 16.0, "max_waiting": 2}
    late = simulate(cold({**camera, "admission": "drop_oldest"}, start_s=3.1), FlatLatency())
    dropped = [one.chunk for one in late.chunks if one.outcome == "dropped"]
    assert dropped == list(range(10))
    kept = simulate(cold(camera, start_s=3.1), FlatLatency())
    assert {one.outcome for one in kept.chunks} == {"emitted"}
    assert emissions(kept)[0, 0] > 3.1


def test_sessions_at_the_door_lose_patience_meanwhile() -> None:
    """Who has waited for 2 s goes, whether anybody looks or not; who came late is let in."""
    joins_s = (0.0, 1.0, 3.5)
    shape = {
        "gpus": 1, "steps": 1, "sessions": 3, "chunks": 10, "source_fps": 8.0,
        "visits": [{"join_s": at_s} for at_s in joins_s],
        "entry": {"policy": "memory", "room": 1, "max_queued": 3, "patience_s": 2.0},
    }  # fmt: skip
    records = simulate(cold(shape, start_s=4), FlatLatency())
    entry = compute_metrics(records)["entry"]
    away = [(one["session"], one["outcome"], one["time_s"]) for one in entry["away"]]
    assert away == [(0, "gave_up", 2.0), (1, "gave_up", 3.0)]
    assert min(emissions(records)) == (2, 0)
    check_whole(records)
    assert replayed(scenario_of(records), records.decisions) is None


def test_everybody_is_back_when_the_last_that_waited_has_a_frame() -> None:
    shape = {"gpus": 1, "steps": 1, "sessions": 3, "chunks": 10, "source_fps": 4.0}
    records = simulate(cold(shape, start_s=2), FlatLatency())
    (told,) = compute_metrics(records)["recoveries"]
    firsts = [emissions(records)[session, 0] for session in range(3)]
    assert told["recover_s"] == min(firsts)
    assert told["recover_all_s"] == max(firsts)


def test_every_copy_starts_cold() -> None:
    shape = {"gpus": 2, "chunks": 20, "sessions": 2, "replicas": 2}
    records = simulate_deployment(cold(shape, start_s=2), FlatLatency())
    stood = [span.rank for span in records.spans if span.kind == "recovery"]
    assert sorted(stood) == [0, 1, 2, 3]
    assert min(emissions(records).values()) > 2
    metrics = compute_metrics(records)
    assert len(metrics["recoveries"]) == 2
    assert len(metrics["replicas"]) == 2


def test_what_is_assumed_is_said() -> None:
    given_rate = cold({}, start_s=10.0)
    told = simulate(given_rate, FlatLatency()).info.provenance[PROVENANCE]
    assert "start_s = 10 assumed" in told
    assert "load_bytes_per_s given" in told
    assert PROVENANCE not in simulate(make_plan(), FlatLatency()).info.provenance


def test_a_death_while_it_is_cold_is_refused() -> None:
    plan = dying({"gpus": 2}, at_s=1.0)
    trouble = plan.scenario.trouble.model_copy(
        update={"cold_start": cold({}, start_s=3).scenario.trouble.cold_start}
    )
    scenario = plan.scenario.model_copy(update={"trouble": trouble})
    with pytest.raises(ScenarioError, match=r"at_s = 1: .* until 3.000 s already.*cold"):
        simulate(replace(plan, scenario=scenario), FlatLatency())


def test_no_real_run_starts_cold_and_no_screening_overlooks_it() -> None:
    plan = cold({"gpus": 2})
    with pytest.raises(
        ScenarioError, match=r"cold_start can be simulated only.*weights are loaded"
    ):
        check_can_run(plan.scenario, "cpu")
    assert walks(plan) == "ranks begin without weights"
    assert cold_start_of(make_plan()) is None
