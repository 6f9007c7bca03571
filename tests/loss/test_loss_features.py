"""A rank dies: what its record tells, and how that goes with cameras, viewers, copies and doors."""

from itertools import pairwise

import pytest
from loss_cases import dying, emissions

from builders import FlatLatency, make_plan
from streamtwin.core.latency import Prediction
from streamtwin.core.memory import rank_memory
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import Collective, Hop, Op
from streamtwin.core.recovery import PROVENANCE, weights_bytes
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.simulate import simulate

RING = {"gpus": 3, "chunks": 60}
COSTS = {"detect_s": 0.1, "start_s": 0.5, "load_bytes_per_s": 1e8, "restore_bytes_per_s": 1e7}


def test_what_happened_when_is_in_the_records_and_the_metrics() -> None:
    plan = dying(RING, rank=1, at_s=2.0, state="restored", **COSTS)
    records = simulate(plan, FlatLatency())
    held = rank_memory(plan, plan.stage_of(1), 1)
    state = held["kv"] + held["cross_kv"] + held["vae"]
    loaded_s = 2.1 + 0.5 + held["weights"] / 1e8
    resumed_s = loaded_s + state / 1e7
    told = [(d.rank, d.chose, d.time_s) for d in records.decisions if d.family == "trouble"]
    assert told == [
        (1, "died", 2.0), (1, "detected", 2.1), (1, "started", 2.6), (1, "loaded", loaded_s),
        (1, "resumed", resumed_s),
    ]  # fmt: skip
    stood = [s for s in records.spans if s.kind == "recovery"]
    ends = (2.0, resumed_s)
    assert [(s.rank, s.peer, s.began_s, s.ended_s) for s in stood] == [
        (0, 1, *ends), (1, -1, *ends), (2, 1, *ends)
    ]  # fmt: skip
    assert [s.size_bytes for s in stood] == [0, held["weights"] + state, 0]
    (one,) = compute_metrics(records)["recoveries"]
    assert (one["weights_bytes"], one["state_bytes"]) == (held["weights"], state)
    assert (one["frames_lost"], one["chunks_again"]) == (0, 7)
    after_s = min(at for at in emissions(records).values() if at > 2.0)
    assert one["recover_s"] == one["recover_all_s"] == after_s - 2.0


def test_with_its_state_lost_a_session_begins_as_at_first() -> None:
    """The next chunk has a first chunk's frames and turns, and the window fills anew."""
    plan = dying(RING, rank=1, at_s=2.0, state="lost", **COSTS)
    records = simulate(plan, FlatLatency())
    lost = [one for one in records.chunks if one.outcome == "lost"]
    (told,) = compute_metrics(records)["recoveries"]
    assert (told["chunks_lost"], told["frames_lost"]) == (len(lost), 4 * len(lost))
    assert told["state_bytes"] == 0
    frames = {one.chunk: one.frames for one in records.chunks if one.outcome == "emitted"}
    again = max(one.chunk for one in lost) + 1
    assert (frames[0], frames[again]) == (5, 5)
    assert {count for chunk, count in frames.items() if chunk not in (0, again)} == {4}
    passes = [s for s in records.spans if (s.rank, s.kind) == (0, "dit") and s.began_s > 2.0]
    assert [(s.chunk, s.rows) for s in passes[:2]] == [(again, 1)] * 2  # its two steps, alone
    items = [s.item for s in records.spans if (s.rank, s.kind) == (0, "dit")]
    assert items == sorted(set(items))


def test_a_first_chunk_that_is_done_again_is_a_first_chunk() -> None:
    """It had taken its last turn and others might follow; again nothing follows before that."""
    shape = {"gpus": 2, "steps": 2, "chunks": 20}
    calm = simulate(make_plan(**shape), FlatLatency())
    (decode,) = [s for s in calm.spans if s.kind == "decode" and s.chunk == 0]
    at_s = (decode.began_s + decode.ended_s) / 2
    records = simulate(dying(shape, at_s=at_s, state="restored"), FlatLatency())
    passes = [s for s in records.spans if (s.rank, s.kind, s.chunk) == (0, "dit", 0)]
    assert [s.rows for s in passes] == [1] * 4
    behind = [s.began_s for s in records.spans if s.kind == "encode" and s.chunk > 0]
    assert min(began_s for began_s in behind if began_s >= at_s) >= passes[-1].ended_s
    assert next(one for one in records.chunks if one.chunk == 0).frames == 5


def test_who_waits_for_a_ring_that_has_just_gone_on_waits_for_its_recovery() -> None:
    """A file always has a chunk: nobody waits for input, and no policy holds anything back."""
    shape = {"gpus": 3, "chunks": 200}
    for state in ("lost", "restored"):
        records = simulate(dying(shape, rank=1, at_s=6.0, start_s=1, state=state), FlatLatency())
        metrics = compute_metrics(records)
        for part in (*metrics["ranks"], *metrics["links"]):
            assert part["bubbles"]["input"] == part["bubbles"]["policy_wait"] == 0
            assert 1 <= part["bubbles"]["recovery"] < 1.5
        assert max(rank["bubbles"]["recovery"] for rank in metrics["ranks"]) > 1.01


@pytest.mark.parametrize("state", ["lost", "restored"])
def test_littles_law_holds_with_what_came_out(state: str) -> None:
    plan = dying({"gpus": 3, "chunks": 400}, rank=1, at_s=6.0, start_s=1, state=state)
    found = compute_metrics(simulate(plan, FlatLatency()))["in_pipeline"]
    assert found["mean_chunks"] == pytest.approx(found["rate_per_s"] * found["mean_s"], rel=0.03)


def test_viewers_notice_by_the_ordinary_rules() -> None:
    shape = {"gpus": 2, "chunks": 80, "source_fps": 16.0, "viewer": {"start_buffer_s": 1.0}}
    calm = compute_metrics(simulate(make_plan(**shape), FlatLatency()))
    hurt = compute_metrics(simulate(dying(shape, at_s=10.0, start_s=3), FlatLatency()))
    assert calm["viewer"]["stalls"] == calm["deadline_miss_rate"] == 0
    assert hurt["viewer"]["stalls"] >= 1
    # what was lost is not played, so its time comes off the stall
    gone_s = hurt["recoveries"][0]["frames_lost"] / 16.0
    assert hurt["viewer"]["stall_s"] + gone_s == pytest.approx(
        hurt["recoveries"][0]["recover_s"], abs=0.6
    )
    assert hurt["deadline_miss_rate"] > 0
    assert hurt["chunks"]["lost"] > 0


def test_cameras_go_on_and_the_drop_rule_decides_but_not_on_what_is_done_again() -> None:
    """Down for 4 s with 4 chunks a second and room for two: what comes last waits."""
    shape = {
        "gpus": 1, "steps": 1, "chunks": 60, "source_fps": 16.0, "admission": "drop_oldest",
        "max_waiting": 2,
    }  # fmt: skip
    calm = simulate(make_plan(**shape), FlatLatency())
    assert {one.outcome for one in calm.chunks} == {"emitted"}
    plan = dying(shape, at_s=5.05, start_s=4, state="restored")
    records = simulate(plan, FlatLatency())
    (again,) = [one.chunk for one in calm.chunks if one.taken_s < 5.05 <= one.emitted_s]
    released = [one for one in records.chunks if 5.05 < one.released_s <= 9.05]
    assert len(released) == 16
    assert [one.outcome for one in released] == ["dropped"] * 14 + ["emitted"] * 2
    assert emissions(records)[0, again] < min(
        emissions(records)[0, one.chunk] for one in released[14:]
    )


def test_the_queue_is_as_short_as_before_once_all_is_done_again() -> None:
    """A camera that is too fast: who gets in waits for two others, before and after."""
    shape = {
        "gpus": 2, "chunks": 200, "source_fps": 120.0, "admission": "drop_oldest",
        "max_waiting": 2,
    }  # fmt: skip
    calm = simulate(make_plan(**shape), FlatLatency())
    records = simulate(dying(shape, at_s=2.0, start_s=1, state="restored"), FlatLatency())
    longest_s = max(one.latency_s for one in calm.chunks if one.emitted_s and one.released_s > 1)
    late = [one.latency_s for one in records.chunks if one.emitted_s and one.released_s > 3.5]
    assert len(late) > 20
    assert max(late) <= longest_s + 1e-9


def test_latency_counts_from_when_a_chunk_was_taken_first() -> None:
    records = simulate(dying(RING, at_s=2.0, state="restored", start_s=1), FlatLatency())
    again = [one for one in records.chunks if one.taken_s < 2.0 < one.emitted_s]
    assert len(again) == 7
    assert all(one.released_s == one.taken_s and one.latency_s > 1 for one in again)


def test_all_ranks_may_start_again() -> None:
    plans = [
        dying(RING, rank=1, at_s=2.0, state="restored", restarts=which, **COSTS)
        for which in ("rank", "all")
    ]
    one, every = (compute_metrics(simulate(plan, FlatLatency()))["recoveries"][0] for plan in plans)
    assert one["weights_bytes"] == weights_bytes(plans[0], 1)
    assert every["weights_bytes"] == max(weights_bytes(plans[0], rank) for rank in range(3))
    assert every["weights_bytes"] > one["weights_bytes"]
    assert every["recover_s"] > one["recover_s"]


def test_only_the_copy_concerned_stands_and_keeps_its_sessions() -> None:
    shape = {"gpus": 2, "chunks": 40, "sessions": 4, "replicas": 2, "source_fps": 8.0}
    calm = simulate_deployment(make_plan(**shape), FlatLatency())
    plan = dying(shape, rank=3, at_s=4.0, start_s=2)
    records = simulate_deployment(plan, FlatLatency())
    assert {s.rank for s in records.spans if s.kind == "recovery"} == {2, 3}
    assert [s for s in records.spans if s.rank < 2] == [s for s in calm.spans if s.rank < 2]
    routed = [d for d in records.decisions if d.family == "router"]
    assert routed == [d for d in calm.decisions if d.family == "router"]
    other = {d.session for d in routed if d.chose == 0}
    assert {one.session for one in records.chunks if one.outcome == "lost"} <= set(range(4)) - other
    metrics = compute_metrics(records)
    (told,) = metrics["recoveries"]
    assert told["rank"] == 3
    assert told["recover_s"] > 2
    assert PROVENANCE in records.info.provenance
    two = compute_metrics(calm)["replicas"]
    assert metrics["replicas"][0]["latency_s"] == two[0]["latency_s"]
    assert metrics["replicas"][1]["latency_s"] != two[1]["latency_s"]


def test_who_waits_at_the_door_gets_in_when_the_sessions_before_end_with_a_death() -> None:
    """The last chunks of the one inside are lost: nothing follows of it, and the next may enter."""
    shape = {
        "gpus": 1, "steps": 1, "sessions": 2, "chunks": 8,
        "entry": {"policy": "memory", "room": 1, "max_queued": 2},
    }  # fmt: skip
    calm = simulate(make_plan(**shape), FlatLatency())
    last = next(s for s in calm.spans if (s.kind, s.session, s.chunk) == ("encode", 0, 7))
    for state in ("lost", "restored"):
        at_s = (last.began_s + last.ended_s) / 2  # taken, and in no item yet
        records = simulate(dying(shape, at_s=at_s, start_s=1, state=state), FlatLatency())
        came = emissions(records)
        assert ((0, 7) in came) == (state == "restored")
        assert {key for key in came if key[0] == 1} == {(1, chunk) for chunk in range(8)}
        assert compute_metrics(records)["entry"]["admitted"] == 2


def test_a_session_whose_last_chunk_is_done_again_is_there_until_then() -> None:
    shape = {
        "gpus": 1, "steps": 1, "sessions": 2, "chunks": 8,
        "entry": {"policy": "memory", "room": 1, "max_queued": 2},
    }  # fmt: skip
    calm = simulate(make_plan(**shape), FlatLatency())
    last = next(s for s in calm.spans if (s.kind, s.session, s.chunk) == ("decode", 0, 7))
    at_s = (last.began_s + last.ended_s) / 2  # rank 0 has counted it out already
    records = simulate(dying(shape, at_s=at_s, state="restored", start_s=1), FlatLatency())
    (let_in,) = [d.time_s for d in records.decisions if (d.session, d.chose) == (1, "admit")]
    assert let_in >= emissions(records)[0, 7] > at_s + 1


def test_only_sessions_that_are_there_have_anything_to_restore() -> None:
    """Of three one has left, one runs, one has not come yet."""
    shape = {"gpus": 2, "sessions": 3, "chunks": 60, "visits": [{"chunks": 3}, {}, {"join_s": 90}]}
    plan = dying(shape, rank=1, at_s=3.0, state="restored", **COSTS)
    (told,) = compute_metrics(simulate(plan, FlatLatency()))["recoveries"]
    held = rank_memory(plan, plan.stage_of(1), 1)
    assert told["state_bytes"] == held["kv"] + held["cross_kv"] + held["vae"]


def test_members_of_a_stage_stand_with_it() -> None:
    shape = {"gpus": 4, "parallelism": "ulysses", "sequence_ranks": 2, "chunks": 20}
    spans = simulate(dying(shape, rank=3, at_s=0.5, start_s=1), Exchanging()).spans
    stood = [(s.rank, s.began_s, s.ended_s) for s in spans if s.kind == "recovery"]
    assert stood == [(rank, 0.5, 1.5) for rank in range(4)]
    for rank in range(4):
        own = sorted((s.began_s, s.ended_s) for s in spans if s.rank == rank)
        assert all(ended_s <= began_s for (_, ended_s), (began_s, _) in pairwise(own))


@pytest.mark.parametrize("restarts", ["rank", "all"])
@pytest.mark.parametrize(
    "shape", [{"gpus": 3}, {"gpus": 4, "parallelism": "ulysses", "sequence_ranks": 2}], ids=str
)
def test_every_rank_s_record_says_what_it_loads_itself(shape: dict, restarts: str) -> None:
    plan = dying(
        {**shape, "chunks": 20}, rank=1, at_s=0.5, state="lost", restarts=restarts, **COSTS
    )
    stood = [s for s in simulate(plan, Exchanging()).spans if s.kind == "recovery"]
    again = range(plan.ranks) if restarts == "all" else [1]
    own = [weights_bytes(plan, rank) if rank in again else 0 for rank in range(plan.ranks)]
    assert [s.size_bytes for s in stood] == own
    assert [s.peer for s in stood] == [-1 if rank == 1 else 1 for rank in range(plan.ranks)]


class Exchanging(FlatLatency):
    """Exchanges take as long as hops."""

    def predict(self, op: Op) -> Prediction:
        return super().predict(Hop(8) if isinstance(op, Collective) else op)
