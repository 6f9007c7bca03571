"""Batching policies: what each takes in, on what evidence, and what it is good for."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import BY_HAND, FlatLatency
from streamtwin.cli.checks import check_can_run
from streamtwin.core.errors import ScenarioError
from streamtwin.core.latency import Prediction
from streamtwin.core.layout import lay_out
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import DitPass, Op
from streamtwin.core.plan import Plan
from streamtwin.core.policies.batching import (
    BATCHING,
    KNEE,
    PREDICTS,
    LaneView,
    knee,
    model_predictive,
    slo_aware,
)
from streamtwin.core.scenario_file import check_scenario
from streamtwin.sim.simulate import simulate


@dataclass(frozen=True)
class RowLatency(FlatLatency):
    """A pass costs `block_s` a block whatever its rows, and `row_s` a row and block on top."""

    row_s: float = 0.001

    def predict(self, op: Op) -> Prediction:
        flat = super().predict(op)
        if not isinstance(op, DitPass):
            return flat
        mean_s = flat.mean_s + self.row_s * op.rows * op.blocks
        return Prediction(mean_s, mean_s, mean_s, BY_HAND)


costs = st.tuples(st.floats(0.001, 1.0), st.floats(0.0001, 1.0))


@st.composite
def views(draw: st.DrawFn) -> LaneView:
    fixed_s, row_s = draw(costs)
    rows, room = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    waiting = draw(st.integers(0, 6))
    turn_s = tuple(0.0 if n == 0 else fixed_s + n * row_s for n in range(rows + room + 1))
    slack_s = sorted(draw(st.floats(-2, 5)) for _ in range(waiting))
    steps = draw(st.integers(1, 4))
    ring_s = tuple(2 * turn for turn in turn_s)
    batch = draw(st.integers(1, 4))
    return LaneView(rows, room, waiting, batch, steps, turn_s, ring_s, tuple(slack_s))


@pytest.mark.parametrize("name", BATCHING)
@given(view=views())
def test_a_policy_takes_what_is_there_and_fits(name: str, view: LaneView) -> None:
    if not view.most:
        return  # the controller asks only where a chunk may enter
    taken = BATCHING[name](view)
    assert 1 <= taken <= min(view.room, view.waiting, view.batch)


@given(views())
def test_a_view_can_be_read_back_from_its_record(view: LaneView) -> None:
    assert LaneView.seen(view.saw()) == view


@given(costs, st.integers(1, 20))
def test_the_knee_is_the_least_batch_near_the_best_rate(cost: tuple, most: int) -> None:
    turn_s = [0.0, *(cost[0] + n * cost[1] for n in range(1, most + 1))]
    found = knee(turn_s)
    best = max(n / turn_s[n] for n in range(1, most + 1))
    assert found / turn_s[found] >= KNEE * best
    assert all(n / turn_s[n] < KNEE * best for n in range(1, found))


def view(slack_s: float, turn_s: tuple[float, ...] = (0, 1.0, 1.1, 1.2, 1.3)) -> LaneView:
    return LaneView(0, 4, 4, 4, 1, turn_s, turn_s, (slack_s,) * 4)


def test_slo_aware_grows_with_the_slack_and_stops_at_the_knee() -> None:
    assert [slo_aware(view(slack)) for slack in (0.5, 1.05, 1.15, 1.25, 9.0)] == [1, 1, 2, 3, 4]
    linear = (0, 1.0, 2.0, 3.0, 4.0)  # rows gain nothing: the knee is at one
    assert slo_aware(view(9.0, linear)) == 1


def test_model_predictive_weighs_those_that_have_to_wait() -> None:
    cheap, dear = (0, 1.0, 1.1, 1.2, 1.3), (0, 1.0, 2.0, 3.0, 4.0)
    assert model_predictive(view(1.35, cheap)) == 4  # all four in time at once
    assert model_predictive(view(1.05, cheap)) == 1  # one in time is better than none
    assert model_predictive(view(9.0, dear)) == 1  # nothing to gain: the smallest turn


def crowd(policy: str, latency: FlatLatency, most: int = 4) -> Plan:
    deployment = {"steps": 1, "batching": {"policy": policy, "batch": most}}
    workload = {"sessions": 4, "chunks": 40, "source_fps": 16}
    data = {"deployment": deployment, "workload": workload, "slo": {"latency_s": 0.4}}
    return lay_out(check_scenario(data, "test"), lambda: latency)


@pytest.mark.parametrize("policy", sorted(PREDICTS))
def test_predicting_policies_keep_a_promise_that_single_rows_break(policy: str) -> None:
    """Four sessions at 4 chunks/s; a pass takes 0.09 s with one row and 0.12 s with four."""
    latency = RowLatency(encode_s=0.002, block_s=0.0133, decode_s=0.002, row_s=0.0017)
    single = crowd("fixed", latency, most=1)
    late = compute_metrics(simulate(single, latency))["latency_s"]["p95"]
    kept = compute_metrics(simulate(crowd(policy, latency), latency))["latency_s"]["p95"]
    assert kept < 0.4 < late


@pytest.mark.parametrize("policy", sorted(PREDICTS))
def test_predicting_policies_take_single_rows_where_rows_are_dear(policy: str) -> None:
    latency = RowLatency(encode_s=0.001, block_s=0.0001, decode_s=0.001, row_s=0.008)
    records = simulate(crowd(policy, latency), latency)
    sizes = [s.rows for s in records.spans if s.kind == "dit"]
    assert sum(size > 1 for size in sizes) < 0.05 * len(sizes)


@pytest.mark.parametrize("policy", sorted(BATCHING))
def test_whether_a_scenario_fits_is_asked_before_anything_is_predicted(policy: str) -> None:
    data = {"deployment": {"batching": {"policy": policy, "batch": 4}}, "workload": {"chunks": 3}}
    check_can_run(check_scenario(data, "test"), "cpu")


@pytest.mark.parametrize("policy", sorted(PREDICTS))
def test_a_policy_that_predicts_needs_a_latency_model(policy: str) -> None:
    data = {"deployment": {"batching": {"policy": policy}}, "workload": {"chunks": 3}}
    with pytest.raises(ScenarioError, match="needs a latency profile"):
        lay_out(check_scenario(data, "test"))
