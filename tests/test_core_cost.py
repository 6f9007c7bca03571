"""What an hour of video costs: laws of the bill."""

from dataclasses import replace
from typing import Any

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core import catalog
from streamtwin.core.errors import ScenarioError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.scenario_file import parse_scenario
from streamtwin.sim.replicas import simulate_deployment

SLOW = FlatLatency(encode_s=0.2, block_s=0.01, decode_s=0.2)


def on(cards: tuple[str, ...], **changes: Any) -> Plan:
    plan = make_plan(gpus=len(cards), steps=1, chunks=40, **changes)
    return replace(plan, cards=cards)


def bill(plan: Plan, latency: FlatLatency = SLOW) -> dict[str, Any]:
    cost = compute_metrics(simulate_deployment(plan, latency))["cost"]
    assert cost is not None
    return cost


def test_a_rank_that_runs_at_its_promise_costs_what_its_card_costs() -> None:
    cost = bill(on(("h100-sxm",), source_fps=4.0))
    price = catalog.gpu("h100-sxm").price_usd_per_hour
    assert cost["usd_per_hour"] == price
    assert cost["streams"] == pytest.approx(1.0)
    assert cost["usd_per_stream_hour"] == pytest.approx(price)
    assert cost["prices"]["h100-sxm"]["source"] == catalog.gpu("h100-sxm").price_source


def test_half_the_rate_costs_twice_as_much() -> None:
    twice = FlatLatency(*(2 * one for one in (0.2, 0.01, 0.2)), 0.0)
    once = FlatLatency(0.2, 0.01, 0.2, 0.0)
    costs = [bill(on(("h100-sxm",)), one)["usd_per_stream_hour"] for one in (once, twice)]
    assert costs[1] == pytest.approx(2 * costs[0])


def test_a_copy_more_costs_as_much_again_and_brings_as_much() -> None:
    one = bill(on(("h100-sxm", "rtx4090"), source_fps=4.0))
    two = bill(on(("h100-sxm", "rtx4090"), source_fps=4.0, replicas=2, sessions=2))
    assert two["usd_per_hour"] == pytest.approx(2 * one["usd_per_hour"])
    assert two["usd_per_stream_hour"] == pytest.approx(one["usd_per_stream_hour"])


def test_the_users_price_comes_before_the_catalogues() -> None:
    cost = bill(on(("h100-sxm", "rtx4090"), prices={"h100-sxm": 1.0}))
    assert cost["usd_per_hour"] == 1.0 + (catalog.gpu("rtx4090").price_usd_per_hour or 0.0)
    assert cost["prices"]["h100-sxm"]["source"] == "prices of the scenario"


QUICK = FlatLatency()


@pytest.mark.parametrize("state", ["lost", "restored"])
@pytest.mark.parametrize("at_s", [0.7, 1.5, 2.5, 2.7, 6.0])
def test_a_card_that_stands_is_paid_for(at_s: float, state: str) -> None:
    """Wherever a death lies: a camera brings an hour of video an hour at most, and no death is a gain."""
    shape = {"source_fps": 16.0, "chunks": 60}
    death = {"rank": 1, "at_s": at_s, "state": state, "start_s": 4.9, "load_bytes_per_s": 1e12}
    cards = ("h100-sxm", "h100-sxm")
    plan = make_plan(gpus=2, **shape)
    dies = make_plan(gpus=2, **shape, trouble={"lost_ranks": [death]})
    still, found = (bill(replace(one, cards=cards), QUICK) for one in (plan, dies))
    # a window that begins where the ring stood may count a chunk more than its time is worth
    assert found["streams"] <= 1.03
    assert found["usd_per_stream_hour"] >= still["usd_per_stream_hour"] / 1.03
    metrics = compute_metrics(simulate_deployment(dies, QUICK))
    assert metrics["fps"] <= 16.5
    assert [one["fps"] <= 16.5 for one in metrics["sessions"]] == [True]


def test_a_pipeline_that_starts_cold_is_paid_for_from_the_first_frame_on() -> None:
    cold = {"cold_start": {"start_s": 5, "load_bytes_per_s": 1e12}}
    plan = make_plan(gpus=2, source_fps=16.0, chunks=60, trouble=cold)
    assert bill(replace(plan, cards=("h100-sxm", "h100-sxm")), QUICK)["streams"] <= 1.01


def test_without_a_card_or_a_price_nothing_is_said() -> None:
    for plan in (make_plan(gpus=1, steps=1, chunks=40), on(("h100-pcie",))):
        assert compute_metrics(simulate_deployment(plan, SLOW))["cost"] is None
    assert catalog.gpu("h100-pcie").price_usd_per_hour is None


def test_the_price_of_a_card_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"prices\.h100: no card .* choose one of a100-sxm"):
        parse_scenario("workload: {chunks: 9}\nprices: {h100: 2.0}", "mine.yaml")
    with pytest.raises(ScenarioError, match="less than or equal to 1000000"):
        parse_scenario("workload: {chunks: 9}\nprices: {h100-sxm: 1.0e+308}", "mine.yaml")
    with pytest.raises(ScenarioError, match="greater than 0"):
        parse_scenario("workload: {chunks: 9}\nprices: {h100-sxm: 0}", "mine.yaml")
