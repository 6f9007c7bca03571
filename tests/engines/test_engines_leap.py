"""A stream that leaps over turns that are alike gets the instants of a walk, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.plan import Plan
from streamtwin.sim import repeat
from streamtwin.sim.leap import leap, leap_each, short_walk
from streamtwin.sim.maxplus import Course, Walk
from streamtwin.sim.noted import NotedWalk
from streamtwin.sim.repeat import Repeater, alternating
from streamtwin.sim.rows import Rows
from streamtwin.sim.screen import releases, screen
from streamtwin.sim.tape import Step
from streamtwin.sim.vector_costs import VectorCosts

seconds = st.floats(0.0005, 0.1)
latencies = st.one_of(
    st.builds(FlatLatency, seconds, st.floats(0.0005, 0.03), seconds, st.floats(0.0001, 0.05)),
    # sums of these are exact and often equal
    st.just(FlatLatency(encode_s=1 / 64, block_s=1 / 128, decode_s=1 / 32, hop_s=1 / 256)),
)


@st.composite
def streams(draw) -> Plan:
    own, live = draw(st.booleans()), draw(st.booleans())
    gpus = draw(st.integers(3, 6) if own else st.integers(1, 6))
    return make_plan(
        gpus=gpus,
        vae_placement="dedicated" if own else "edge",
        decode=None if own else draw(st.sampled_from([None, "after_send", "before_send"])),
        steps=draw(st.integers(1, 4)),
        protocol=draw(st.sampled_from(["sdv2", "overlap"])),
        stream_batch=live or draw(st.booleans()),
        chunk_latents=draw(st.integers(1, 2)),
        window=draw(st.sampled_from([3, 9])),
        sink=1,
        slowdown=draw(st.sampled_from([{}, {0: 1.7}, {gpus - 1: 3.0}])),
        source_fps=draw(st.sampled_from([1.0, 16.0, 23.976, 60.0, 500.0])) if live else None,
        chunks=draw(st.integers(150, 500)),
        service_noise=False,
    )


def walked(plan: Plan, latency: FlatLatency) -> Course:
    return Walk(plan, VectorCosts([plan], [latency]), releases([plan]), ()).course()


def assert_same(one: Course | None, other: Course) -> None:
    assert one is not None
    np.testing.assert_array_equal(one.emitted_s, other.emitted_s)
    if other.released_s is None:
        assert one.released_s is None
    else:
        np.testing.assert_array_equal(one.released_s, other.released_s)


@given(streams(), latencies)
@settings(deadline=None, max_examples=100)
def test_a_leap_lands_where_a_walk_does(plan: Plan, latency: FlatLatency) -> None:
    assert_same(leap(plan, latency, releases([plan])), walked(plan, latency))


@pytest.mark.parametrize(
    "changes", [{"source_fps": 16.0}, {"source_fps": 60.0}, {}, {"stream_batch": False}]
)
def test_a_long_stream_costs_few_steps_more_than_a_short_one(changes, monkeypatch) -> None:
    """What is gone through step by step does not grow with the stream."""
    gone, own = [], Repeater._go

    def counted(repeater: Repeater, steps, further):
        gone[-1] += len(steps)
        return own(repeater, steps, further)

    monkeypatch.setattr(Repeater, "_go", counted)
    for chunks in (1_000, 20_000):
        plan = make_plan(gpus=4, steps=2, chunks=chunks, **changes)
        gone.append(0)
        assert leap(plan, FlatLatency(), releases([plan])) is not None
    assert gone[1] < 2 * gone[0]


def test_where_winners_change_the_rows_are_true_only_so_far(monkeypatch) -> None:
    """A slower source is overtaken by a faster one that began later; before it is not."""
    steps = [
        Step("after", back=3, seconds=1.0),
        Step("after", back=3, seconds=1.5),
        Step("later", back=2, other=1),
    ]
    past = [10.0, 0.0, 10.0]
    rows = Rows(steps, past, 40, [True, True, True], lambda chunk: np.empty(0))
    overtaken = next(n for n in range(40) if 1.5 * (n + 1) > 10.0 + n + 1)
    assert rows.fill() == overtaken
    assert rows.row(2)[:overtaken].tolist() == [11.0 + n for n in range(overtaken)]
    monkeypatch.setattr(repeat, "alternating", lambda seen: 1)  # ever so hopeful
    plan = make_plan(gpus=4, chunks=300, protocol="overlap", stream_batch=False)
    latency = FlatLatency(encode_s=0.07, block_s=0.002, decode_s=0.013, hop_s=0.031)
    assert_same(leap(plan, latency, None), walked(plan, latency))


def test_a_running_sum_adds_as_a_clock_does() -> None:
    """One summand after the other, and as many sums side by side as repetitions lie between."""
    steps = [Step("after", back=6, seconds=0.1), Step("after", back=1, seconds=0.3)]
    past = [0.7, 1.1, 0.9, 1.3, 1.7, 2.1]
    rows = Rows(steps, past, 50, [True, True], lambda chunk: np.empty(0))
    assert rows.fill() == 50
    values = list(past)
    for _ in range(50):
        values.append(values[-6] + 0.1)
        values.append(values[-1] + 0.3)
    assert rows.past_s(50) == values[-len(past) :]


def test_a_running_sum_is_true_only_if_it_begins_with_what_was() -> None:
    """It begins with instants of one of its steps, and those of the others may be no part of it."""
    steps = [Step("after", back=1, seconds=1.0), Step("later", back=3, other=2)]
    rows = Rows(steps, [0.0, 0.0, 0.5, -5.0], 50, [True, True], lambda chunk: np.empty(0))
    assert rows.fill() == 0
    rows = Rows(steps, [0.0, 0.0, 0.5, 0.0], 50, [True, True], lambda chunk: np.empty(0))
    assert rows.fill() == 50


@pytest.mark.parametrize(
    ("seen", "turns"), [("aa", 1), ("xabab", 2), ("abcabc", 3), ("aab", None), ("a", None)]
)
def test_what_alternates_is_found(seen: str, turns: int | None) -> None:
    assert alternating([(letter,) for letter in seen]) == turns


def test_a_stretch_that_never_comes_again_makes_it_walk(monkeypatch) -> None:
    plan = make_plan(gpus=2, chunks=300)
    expected = screen([plan], lambda _: FlatLatency())
    monkeypatch.setattr("streamtwin.sim.leap.stretch_of", lambda *given: None)
    assert leap(plan, FlatLatency(), None) is None
    assert screen([plan], lambda _: FlatLatency()) == expected


def test_few_streams_leap_each_and_many_walk_together() -> None:
    plans = [make_plan(gpus=2, chunks=400, source_fps=fps) for fps in (1.0, 16.0, 60.0)]
    latency = FlatLatency()
    found = leap_each(plans, [latency] * 3, releases(plans))
    alone = [walked(plan, latency).emitted_s for plan in plans]
    assert found is not None
    np.testing.assert_array_equal(found.emitted_s, np.hstack(alone))
    assert leap_each(plans * 100, [latency] * 300, releases(plans * 100)) is None


def test_a_tape_gives_the_instants_of_the_walk() -> None:
    plan = make_plan(gpus=3, steps=2, chunks=60)
    noted = NotedWalk(plan, FlatLatency(), None, 60).noted()
    values = [noted.tape.values_s[place] for place in noted.emitted]
    own = make_plan(gpus=3, steps=2, chunks=len(values))
    assert values == walked(own, FlatLatency()).emitted_s[:, 0].tolist()
    assert len(values) <= short_walk(plan)


@pytest.mark.parametrize("gpus", [4, 5, 6])
@pytest.mark.parametrize("changes", [{}, {"source_fps": 16.0}, {"stream_batch": False}])
def test_turns_are_not_alike_while_a_link_still_has_room(gpus: int, changes) -> None:
    """A last rank that may have several results under way waits for none of the first ones."""
    plan = make_plan(
        gpus=gpus, steps=1, window=3, sink=1, decode="before_send", chunks=200, **changes
    )
    for latency in (
        FlatLatency(encode_s=0.001, block_s=0.003, decode_s=0.002, hop_s=0.04),
        FlatLatency(encode_s=0.05, block_s=0.02, decode_s=0.001, hop_s=0.0002),
    ):
        assert_same(leap(plan, latency, releases([plan])), walked(plan, latency))
