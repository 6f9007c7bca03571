"""Nothing hangs: a run that gets nowhere ends and says who waits for whom."""

from dataclasses import replace

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core import plan as plans
from streamtwin.core.controller import Controller
from streamtwin.core.edges import edges_of
from streamtwin.core.errors import RunError
from streamtwin.core.ring import Ring
from streamtwin.core.turns import Wait
from streamtwin.sim import progress
from streamtwin.sim.exchange import BlockExchange
from streamtwin.sim.screen import screen
from streamtwin.sim.simulate import simulate
from streamtwin.sim.station import Station

ENGINES = ["simpy", "recurrence"]


def too_little_room(layout):
    """The links of a deployment that decodes first, with room for one result instead of W - 1."""
    return tuple(replace(edge, depth=1) for edge in edges_of(layout))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_ring_that_holds_itself_up_ends_and_shows_the_circle(engine, monkeypatch) -> None:
    """Rank 0 would not take a result before it has sent, nor rank 1 an item before it has."""
    plan = make_plan(gpus=3, decode="before_send", steps=1)
    monkeypatch.setattr(plans, "edges_of", too_little_room)
    hold_back(monkeypatch)
    with pytest.raises(RunError) as error:
        simulate(plan, FlatLatency(), engine=engine)
    said = str(error.value)
    assert "nothing moves after 0." in said
    assert "rank 0 waits for room on its link to rank 1, where 1 of at most 1 items" in said
    assert "rank 1 waits for room on its link to rank 2" in said
    assert "rank 2 waits for room on its link to rank 0" in said
    assert "(rank 0 -> rank 1 -> rank 2 -> rank 0)" in said
    assert "items out: [0, 1, 2" in said


def test_a_screened_ring_that_holds_itself_up_ends_too(monkeypatch) -> None:
    plan = make_plan(gpus=3, decode="before_send", steps=1)
    monkeypatch.setattr(plans, "edges_of", too_little_room)
    hold_back(monkeypatch)
    with pytest.raises(RunError, match=r"no rank gets any further after \d chunks"):
        screen([plan], lambda _: FlatLatency())


def hold_back(monkeypatch) -> None:
    """Make rank 0 send ten items before it takes any result back."""
    monkeypatch.setattr(Ring, "due", lambda ring: len(ring.outstanding) >= 10)
    monkeypatch.setattr(Ring, "out", lambda ring, lane: False)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rank_that_never_sends_leaves_all_waiting_for_items(engine, monkeypatch) -> None:
    send = Station.send
    monkeypatch.setattr(
        Station, "send", lambda own, item: () if own.stage.rank == 1 else send(own, item)
    )
    with pytest.raises(RunError) as error:
        simulate(make_plan(gpus=3), FlatLatency(), engine=engine)
    said = str(error.value)
    assert "rank 0 waits for an item of rank 2; rank 2 waits for an item of rank 1" in said
    assert "(rank 0 -> rank 2 -> rank 1 -> rank 0)" in said
    assert "rank 1 last did dit of item 0 until" in said


def test_a_rank_that_waits_for_blocks_says_so(monkeypatch) -> None:
    monkeypatch.setattr(BlockExchange, "_give", lambda own, receiver: own.meeting.env.event())
    plan = make_plan(gpus=2, partition={"schedule": {3: [4, 2]}})
    with pytest.raises(RunError, match="rank 0 waits for blocks of rank 1; rank 1 waits for"):
        simulate(plan, FlatLatency())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step_s", [0.0, 0.25])
def test_time_that_goes_on_without_a_service_ends(engine, step_s, monkeypatch) -> None:
    """Rank 0 waits for input again and again, which never comes, at one instant or for ever."""
    monkeypatch.setattr(Controller, "next", lambda own, now_s: Wait(now_s + step_s))
    monkeypatch.setattr(progress, "PATIENCE", 500)
    with pytest.raises(RunError) as error:
        simulate(make_plan(gpus=2, source_fps=16.0), FlatLatency(), engine=engine)
    said = str(error.value)
    assert "nothing is served while virtual time goes from 0.000 s to" in said
    assert "in 500 steps" in said
    assert "rank 0 waits for no other rank" in said


@pytest.mark.parametrize("engine", ENGINES)
def test_a_long_run_is_not_taken_for_one_that_gets_nowhere(engine, monkeypatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 50)
    records = simulate(make_plan(gpus=3, source_fps=2.0), FlatLatency(), engine=engine)
    assert {chunk.outcome for chunk in records.chunks} == {"emitted"}
