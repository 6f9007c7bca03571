"""Laws that every simulated run keeps, whatever the deployment."""

import pickle
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import FlatLatency, latencies, make_plan
from streamtwin.core.camera import ReleaseClock
from streamtwin.core.errors import RunError
from streamtwin.core.latency import Prediction
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import DitPass, Hop, Op
from streamtwin.core.plan import Plan
from streamtwin.core.policies import batching
from streamtwin.core.policies.admission import ADMISSION, QueueView
from streamtwin.core.policies.noise import NOISE, MotionView
from streamtwin.core.records import SERVICES, Records
from streamtwin.sim.simulate import simulate

any_latency = latencies(factors=st.sampled_from([(), (0.9, 1.0, 1.1), (0.5, 1.0, 3.0)]))


def plans_with(
    admissions: list[str], batching_modes: tuple[bool, ...] = (True, False)
) -> st.SearchStrategy[Plan]:
    return st.builds(
        make_plan,
        gpus=st.integers(1, 5),
        steps=st.integers(1, 4),
        stream_batch=st.sampled_from(batching_modes),
        chunk_latents=st.integers(1, 2),
        source_fps=st.sampled_from([None, 8.0, 16.0, 60.0]),
        admission=st.sampled_from(admissions),
        max_waiting=st.integers(1, 3),
        chunks=st.integers(4, 24),
        seed=st.integers(0, 3),
    )


plans = plans_with(["accept_all", "drop_newest", "drop_oldest"])
fixed_decision_plans = plans_with(["accept_all"], (True,))
bounded_plans = plans_with(["drop_newest", "drop_oldest"])
runs = settings(deadline=None)


def spans_of(records: Records, rank: int, kinds: tuple[str, ...]) -> list:
    chosen = [s for s in records.spans if s.rank == rank and s.kind in kinds]
    return sorted(chosen, key=lambda s: s.began_s)


def emitting(plan: Plan, latency: FlatLatency) -> Records:
    """A run with enough emitted chunks to speak of a period."""
    records = simulate(plan, latency)
    assume(sum(c.outcome == "emitted" for c in records.chunks) >= 3)
    return records


@given(plans, any_latency)
@runs
def test_every_chunk_is_emitted_or_dropped(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    outcome = {chunk.chunk: chunk.outcome for chunk in records.chunks}
    assert sorted(outcome) == list(range(plan.scenario.chunks))
    assert set(outcome.values()) <= {"emitted", "dropped"}
    if plan.scenario.workload.admission == "accept_all":
        assert "dropped" not in outcome.values()


@given(plans, any_latency)
@runs
def test_one_service_at_a_time_per_device(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    for rank in range(plan.ranks):
        for before, after in pairwise(spans_of(records, rank, SERVICES)):
            assert before.ended_s <= after.began_s


@given(plans, any_latency)
@runs
def test_causes_come_before_effects(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    for chunk in records.chunks:
        if chunk.outcome == "emitted":
            assert chunk.released_s <= chunk.taken_s < chunk.emitted_s
    for rank in range(1, plan.ranks):
        ended = {s.item: s.ended_s for s in spans_of(records, rank - 1, ("dit",))}
        arrived = {s.item: s.ended_s for s in spans_of(records, rank, ("hop",))}
        for span in spans_of(records, rank, ("dit",)):
            assert ended[span.item] < arrived[span.item] <= span.began_s


@given(plans, any_latency)
@runs
def test_rank_0_sends_only_when_the_lane_before_is_back(plan: Plan, latency: FlatLatency) -> None:
    assume(plan.ranks > 1)
    records = simulate(plan, latency)
    returned = {s.item: s.ended_s for s in spans_of(records, 0, ("hop",))}
    arrived = {s.item: s.began_s for s in spans_of(records, 1, ("hop",)) if s.item > 0}
    for item, began_s in arrived.items():
        due = item - plan.ranks + 1
        if due > 0 and due in returned:
            assert returned[due] <= began_s


@given(plans, any_latency)
@runs
def test_chunks_pass_every_step_once_in_order(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    passes = sum(s.rows for s in records.spans if s.kind == "dit" and s.rank == plan.ranks - 1)
    emitted = [c for c in records.chunks if c.outcome == "emitted"]
    assert passes == len(emitted) * plan.scenario.deployment.steps
    order = sorted(emitted, key=lambda c: c.emitted_s)
    assert [c.chunk for c in order] == sorted(c.chunk for c in emitted)


@given(plans, any_latency)
@runs
def test_nothing_is_known_before_it_exists(plan: Plan, latency: FlatLatency) -> None:
    """Chunks are released by the input's clock, taken after that, and time never goes back."""
    records = simulate(plan, latency)
    clock = ReleaseClock(plan.scenario.workload.source_fps, plan.scenario.shape, 16.0)
    for chunk in records.chunks:
        if chunk.taken_s is not None:
            assert chunk.taken_s >= chunk.released_s
            if clock.fps is not None:
                assert chunk.released_s == clock.released_s(chunk.chunk)
    for decision in records.decisions:
        if decision.family == "admission" and clock.fps is not None:
            assert decision.time_s == clock.released_s(decision.chunk)
    for rank in range(plan.ranks):
        own = [span for span in records.spans if span.rank == rank]
        for before, after in pairwise(own):
            assert before.began_s < before.ended_s <= after.began_s


@given(plans, any_latency)
@runs
def test_a_lane_carries_no_more_rows_than_it_may(plan: Plan, latency: FlatLatency) -> None:
    records = simulate(plan, latency)
    assert max(s.rows for s in records.spans if s.kind == "dit") <= plan.max_rows


@given(plans, any_latency)
@runs
def test_every_decision_follows_from_what_was_seen(plan: Plan, latency: FlatLatency) -> None:
    """The recorded view is the whole of what the policy knew: asked again, it says the same."""
    records = simulate(plan, latency, motion=[(0.0, 0.02 * i, 0.01 * i, 0.0) for i in range(12)])
    again = {
        "admission": lambda d: ADMISSION[d.policy](QueueView(**d.saw)),
        "batching": lambda d: batching.BATCHING[d.policy](batching.LaneView.seen(d.saw)),
        "noise": lambda d: NOISE[d.policy](MotionView(**d.saw)) if d.chunk else d.saw["base"],
    }
    first = min(d.chunk for d in records.decisions if d.family == "noise")
    for decision in records.decisions:
        if decision.family in again and not (
            decision.family == "noise" and decision.chunk == first
        ):
            assert again[decision.family](decision) == decision.chose


def survivors(admission: str) -> list[int]:
    """Chunks that are emitted when a slow pipeline meets a queue of two."""
    plan = make_plan(source_fps=16, admission=admission, max_waiting=2, chunks=24)
    records = simulate(plan, FlatLatency(decode_s=0.8))
    return [c.chunk for c in records.chunks if c.outcome == "emitted"]


def test_drop_oldest_keeps_the_newest_and_drop_newest_the_oldest() -> None:
    """One chunk every 0.25 s, one served every 0.9 s: three or four come per service."""
    newest, oldest = survivors("drop_oldest"), survivors("drop_newest")
    assert newest[-2:] == [22, 23]
    assert oldest[:3] == [0, 1, 2]
    assert newest[1:3] != [1, 2]
    assert max(oldest) < 23


@given(plans, any_latency)
@runs
def test_bubbles_sum_to_idle_time(plan: Plan, latency: FlatLatency) -> None:
    metrics = compute_metrics(emitting(plan, latency))
    for rank in metrics["ranks"]:
        assert rank["busy_s"] + rank["idle_s"] == pytest.approx(rank["span_s"], abs=1e-9)
        assert sum(rank["bubbles"].values()) == pytest.approx(rank["idle_s"], abs=1e-9)
        assert min(rank["bubbles"].values()) >= 0


@given(plans, any_latency)
@runs
def test_a_simulated_rank_is_idle_only_for_somebody(plan: Plan, latency: FlatLatency) -> None:
    """Work conservation: virtual processes have no host time of their own."""
    metrics = compute_metrics(emitting(plan, latency))
    for rank in metrics["ranks"]:
        assert rank["bubbles"]["host"] == pytest.approx(0.0, abs=1e-9)


@given(plans, any_latency)
@runs
def test_same_seed_same_bytes(plan: Plan, latency: FlatLatency) -> None:
    assert pickle.dumps(simulate(plan, latency)) == pickle.dumps(simulate(plan, latency))


def test_the_seed_changes_noisy_runs() -> None:
    latency = FlatLatency(factors=(0.9, 1.0, 1.1))
    first, second = (simulate(make_plan(seed=seed), latency) for seed in (0, 1))
    assert [s.ended_s for s in first.spans] != [s.ended_s for s in second.spans]


@given(fixed_decision_plans, any_latency, st.floats(1.0, 3.0))
@runs
def test_a_faster_device_never_finishes_later(
    plan: Plan, latency: FlatLatency, factor: float
) -> None:
    """With the same decisions and the same draws.

    Nothing is dropped, and lanes are never left empty: without stream batch, whether one is
    depends on who is first, and a chunk may just miss its turn because rank 0 was early.
    """
    slower = FlatLatency(
        latency.encode_s * factor,
        latency.block_s * factor,
        latency.decode_s * factor,
        latency.hop_s,
        latency.factors,
    )
    fast, slow = simulate(plan, latency), simulate(plan, slower)
    for one, other in zip(fast.chunks, slow.chunks, strict=True):
        assert one.emitted_s <= other.emitted_s + 1e-9


@given(bounded_plans, st.floats(0.01, 0.1))
@runs
def test_waiting_chunks_stay_within_the_bound(plan: Plan, decode_s: float) -> None:
    records = simulate(plan, FlatLatency(decode_s=decode_s))
    seen = [d for d in records.decisions if d.family == "admission"]
    assert max(d.saw["waiting"] for d in seen) <= plan.scenario.workload.max_waiting


def test_an_overloaded_live_input_drops_and_stays_fresh() -> None:
    slow = FlatLatency(decode_s=0.4)
    fresh = simulate(make_plan(source_fps=16, admission="drop_oldest", max_waiting=2), slow)
    stale = simulate(make_plan(source_fps=16, chunks=30), slow)
    assert compute_metrics(fresh)["chunks"]["dropped"] > 0
    worst_fresh, worst_stale = (compute_metrics(r)["latency_s"]["max"] for r in (fresh, stale))
    assert worst_fresh < 2.0 < worst_stale


def test_the_unit_of_time_does_not_matter() -> None:
    base, double = FlatLatency(), FlatLatency(0.04, 0.02, 0.06, 0.01)
    plan = make_plan(gpus=3, steps=2)
    for one, other in zip(simulate(plan, base).spans, simulate(plan, double).spans, strict=True):
        assert other.ended_s == pytest.approx(2 * one.ended_s, rel=1e-12)


def test_a_policy_that_starves_the_ring_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batching.BATCHING, "fixed", lambda view: 0)
    with pytest.raises(RunError, match="'fixed' takes no chunk into an empty ring"):
        simulate(make_plan(), FlatLatency())


def test_noise_keeps_to_the_factors_that_were_seen() -> None:
    records = simulate(make_plan(gpus=2), FlatLatency(factors=(0.5, 2.0)))
    dit = [s.seconds for s in records.spans if s.kind == "dit"]
    ratios = {round(s / 0.03, 6) for s in dit}
    assert ratios == {0.5, 2.0}


def test_interval_levels_bracket_the_mean() -> None:
    plan = make_plan(gpus=2)
    fps = {
        level: compute_metrics(simulate(plan, FlatLatency(), level=level))["fps"]
        for level in ("low", "mean", "high")
    }
    assert fps["high"] < fps["mean"] < fps["low"]


class GrowingLatency(FlatLatency):
    """Passes cost by the tokens that they attend."""

    def predict(self, op):
        if not isinstance(op, DitPass):
            return super().predict(op)
        mean_s = 1e-6 * op.rows * op.kv_tokens * op.blocks
        return Prediction(mean_s, mean_s, mean_s, self.provenance)


def test_the_window_grows_and_then_stays() -> None:
    records = simulate(make_plan(steps=1, chunks=12), GrowingLatency())
    cost = [s.seconds for s in spans_of(records, 0, ("dit",))]
    # the first chunk has two latents, the window six: 2, 3, 4, 5, 6, 6, ...
    tokens = make_plan().scenario.size.tokens
    expected = [6e-6 * tokens * k for k in (2, 3, 4, 5, 6, 6, 6)]
    assert cost[:7] == pytest.approx(expected)


@dataclass(frozen=True)
class FarHops(FlatLatency):
    """Knows everything but hops, which it extrapolates."""

    def predict(self, op: Op) -> Prediction:
        known = super().predict(op)
        far = isinstance(op, Hop)
        return replace(known, provenance=replace(known.provenance, extrapolated=far))


def test_one_extrapolated_answer_marks_the_whole_prediction() -> None:
    plan = make_plan(gpus=2)
    assert simulate(plan, FlatLatency()).info.provenance["extrapolated"] == "false"
    assert simulate(plan, FarHops()).info.provenance["extrapolated"] == "true"
    assert simulate(make_plan(gpus=1), FarHops()).info.provenance["extrapolated"] == "false"
