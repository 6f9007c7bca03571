"""A card that slows for a while, a link that degrades: who notices, for how long, and what helps."""

from itertools import pairwise
from typing import Any

import pytest

from builders import FlatLatency, make_plan
from streamtwin.cli.checks import check_can_run
from streamtwin.core.errors import ScenarioError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.core.scenario_file import parse_scenario
from streamtwin.sim.screen import walks
from streamtwin.sim.simulate import simulate

SLOW = {"rank": 0, "from_s": 2.0, "until_s": 4.0, "factor": 3.0}


def gaps(records: Records, began_s: float, ended_s: float) -> list[float]:
    """Seconds between emissions in a time."""
    times = sorted(c.emitted_s for c in records.chunks if c.emitted_s is not None)
    pairs = pairwise(times)
    return [after - before for before, after in pairs if began_s <= before and after <= ended_s]


def one_card(**changes: Any):
    """Encode 20 ms, six blocks of 10 ms, decode 30 ms: 110 ms a chunk."""
    return make_plan(gpus=1, steps=1, chunks=80, **changes)


def test_chunks_take_as_much_longer_as_the_card_and_only_for_so_long() -> None:
    records = simulate(one_card(trouble={"slow_cards": [SLOW]}), FlatLatency())
    assert gaps(records, 0.5, 2.0) == pytest.approx([0.11] * len(gaps(records, 0.5, 2.0)))
    slow = gaps(records, 2.0, 4.0)
    assert slow == pytest.approx([0.33] * len(slow), rel=0.4)
    assert slow[2] == pytest.approx(0.33)
    after = gaps(records, 4.4, 8.0)
    assert len(after) > 10
    assert after == pytest.approx([0.11] * len(after))


@pytest.mark.parametrize("engine", ["simpy", "recurrence"])
def test_what_happens_before_is_as_without_trouble(engine: str) -> None:
    plans = [make_plan(gpus=3, chunks=60, trouble=t) for t in ({}, {"slow_cards": [SLOW]})]
    still, slow = (simulate(plan, FlatLatency(), engine=engine) for plan in plans)
    early = [span for span in still.spans if span.ended_s <= 2.0]
    assert early == [span for span in slow.spans if span.ended_s <= 2.0]
    assert slow.spans[-1].ended_s > still.spans[-1].ended_s + 0.5


@pytest.mark.parametrize("protocol", ["sdv2", "overlap"])
@pytest.mark.parametrize("kind", ["cards", "links"])
def test_both_engines_give_the_same(protocol: str, kind: str) -> None:
    slow = {"from_s": 1.0, "until_s": 3.0, "factor": 4.0}
    own = {"rank": 1} if kind == "cards" else {"sender": 0, "receiver": 1}
    trouble = {f"slow_{kind}": [{**slow, **own}]}
    plan = make_plan(gpus=2, chunks=50, protocol=protocol, source_fps=16.0, trouble=trouble)
    events, recurrence = (
        simulate(plan, FlatLatency(), engine=name) for name in ("simpy", "recurrence")
    )
    assert events.spans == recurrence.spans
    assert events.chunks == recurrence.chunks


def test_a_degraded_link_takes_longer_and_nothing_else_does() -> None:
    link = {"sender": 0, "receiver": 1, "factor": 5.0}
    plan = make_plan(gpus=2, chunks=30, trouble={"slow_links": [link]})
    seconds = {(s.rank, s.kind): s.seconds for s in simulate(plan, FlatLatency()).spans}
    assert seconds[1, "hop"] == pytest.approx(5 * 0.005)
    assert seconds[0, "hop"] == pytest.approx(0.005)
    assert seconds[1, "decode"] == pytest.approx(0.03)


def test_waiting_for_a_camera_is_no_work() -> None:
    trouble = {"slow_cards": [{"rank": 0, "factor": 50.0, "until_s": 0.2}]}
    plan = one_card(source_fps=4.0, trouble=trouble)
    first = next(span for span in simulate(plan, FlatLatency()).spans if span.kind == "wait_input")
    # five frames at 4 frames/s
    assert first.ended_s == pytest.approx(1.0)


def test_blocks_leave_a_throttled_card_and_come_back() -> None:
    """30 blocks of 10 ms on three ranks; the middle one is three times as slow for 20 s."""
    asked = {
        "policy": "optimal", "blocks": [10, 10, 10], "rebalance": "continuous", "horizon_s": 20.0,
    }  # fmt: skip
    trouble = {"slow_cards": [{"rank": 1, "from_s": 10.0, "until_s": 30.0, "factor": 3.0}]}
    wide = {"model": "wan2.1-1.3b", "vae": "wan2.1", "resolution": [480, 832]}
    plan = make_plan(**wide, gpus=3, chunks=400, partition=asked, trouble=trouble)
    records = simulate(plan, FlatLatency())
    moves = compute_metrics(records)["moves"]
    during = [move for move in moves if 10.0 < move["time_s"] < 30.0]
    after = [move for move in moves if move["time_s"] > 30.0]
    assert during[-1]["blocks"][1] <= 6
    assert after[-1]["blocks"][1] >= 9
    left = simulate(
        make_plan(**wide, gpus=3, chunks=400, partition={"blocks": [10, 10, 10]}, trouble=trouble),
        FlatLatency(),
    )
    slow, relieved = (
        sum(gaps(one, 15.0, 30.0)) / len(gaps(one, 15.0, 30.0)) for one in (left, records)
    )
    assert relieved < 0.7 * slow


def test_the_slowest_member_holds_a_shared_pass_up() -> None:
    def stage_pace(rank: int, plan: Plan) -> bool:
        pace = plan.scenario.trouble.pace_of(plan.ranks_of(plan.stages[0]))
        return pace is not None and pace.takes_s(0.0, 1.0) == 2.0

    for rank in (0, 1):
        trouble = {"slow_cards": [{"rank": rank, "factor": 2.0}]}
        plan = make_plan(gpus=2, parallelism="ulysses", sequence_ranks=2, trouble=trouble)
        assert stage_pace(rank, plan)


MISTAKES = {
    "trouble: {slow_cards: [{rank: 2, factor: 2}]}": "slow_cards.0.rank = 2: with deployment.gpus = 2",
    "trouble: {slow_cards: [{rank: 0, factor: 0.5}]}": "greater than or equal to 1",
    "trouble: {slow_cards: [{rank: 0, factor: 2, from_s: 5, until_s: 5}]}": "is not after from_s = 5",
    "trouble: {slow_cards: [{rank: 0, factor: 2, from_s: -1}]}": "from_s",
    "trouble: {slow_links: [{sender: 0, receiver: 3, factor: 2}]}": "links are 0 to 1, 1 to 0",
    "trouble: {dead_ranks: []}": "dead_ranks",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_impossible_trouble_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_scenario(f"deployment: {{gpus: 2}}\n{text}", "mine.yaml")
    assert MISTAKES[text] in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_no_real_run_makes_trouble_and_no_screening_overlooks_it() -> None:
    plan = one_card(trouble={"slow_cards": [SLOW]})
    with pytest.raises(ScenarioError, match="trouble can be simulated only"):
        check_can_run(plan.scenario, "cpu")
    assert walks(plan) == "a card or a link is slow for a while"
