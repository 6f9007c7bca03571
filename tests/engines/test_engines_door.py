"""What is found without looking at every session is what a look at every session finds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.controller import Controller
from streamtwin.core.line import Choice, Line
from streamtwin.core.policies.dispatch import DISPATCH, DISPATCH_ORDER, WaitingChunk
from streamtwin.core.ring import START
from streamtwin.sim import events as executor
from streamtwin.sim.simulate import simulate

instants = st.integers(0, 4).map(float)
heads = st.dictionaries(st.integers(0, 9), st.tuples(instants, instants), max_size=8)


def line_of(heads: dict[int, tuple[float, float]], dispatch: str) -> Line:
    line = Line(dispatch)
    for session, (released_s, deadline_s) in heads.items():
        line.stands(session, WaitingChunk(session, 0, 9.0, 9.0))
        line.stands(session, WaitingChunk(session, 1, released_s, deadline_s))
    line.stands(99, WaitingChunk(99, 0, 0.0, 0.0))
    line.stands(99, None)
    return line


def asked(waiting: list[WaitingChunk], dispatch: str, count: int) -> list[Choice]:
    """What the policy chooses out of all that waits, one after the other."""
    choices = []
    for _ in range(count):
        oldest, many = min(waiting, key=lambda chunk: chunk.released_s), len(waiting)
        choices.append(Choice(waiting.pop(DISPATCH[dispatch](waiting)), oldest, many))
    return choices


@given(heads, st.sampled_from(sorted(DISPATCH)), st.data())
def test_a_line_chooses_as_its_policy_does_of_all_that_wait(heads, dispatch, data) -> None:
    line = line_of(heads, dispatch)
    count = data.draw(st.integers(0, len(heads)))
    expected = asked(line.chunks, dispatch, count)
    assert line.choose(count) == expected
    assert line.choose(count) == expected


def test_a_policy_that_is_no_order_is_asked_with_all_that_wait(monkeypatch) -> None:
    monkeypatch.setitem(DISPATCH, "last", lambda waiting: len(waiting) - 1)
    line = line_of({3: (0.0, 0.0), 1: (1.0, 1.0)}, "last")
    assert [choice.chosen.session for choice in line.choose(2)] == [3, 1]


def test_every_dispatch_policy_that_ships_is_an_order() -> None:
    assert sorted(DISPATCH_ORDER) == sorted(DISPATCH)


class Looking(Controller):
    """Compares, at every decision, what the door says with a look at every book."""

    def next(self, now_s: float):
        action = super().next(now_s)
        due = [book.queue.next_release_s() for book in self.books]
        known = [instant for instant in due if instant is not None]
        assert self.door.next_release_s() == min(known, default=None)
        fresh = [b for b in self.books if not b.started and not b.taken and b.head]
        assert self.door.fresh.chunks == [b.head for b in fresh]
        for lane in range(self.ring.lanes):
            own = [b for b in self.books if b.started and self.serves(b.session, lane)]
            line = self.door.served(lane)
            assert line.chunks == [b.head for b in own if b.head]
            assert line.to_come == sum(b.delivers for b in own)
        assert self.door.served(START) is self.door.fresh
        return action

    def serves(self, session: int, lane: int) -> bool:
        return not self.rules.by_session or session % self.ring.lanes == lane


@st.composite
def shared(draw):
    sessions = draw(st.integers(1, 6))
    visits = st.fixed_dictionaries(
        {"join_s": st.sampled_from([0.0, 0.5, 2.0]), "chunks": st.sampled_from([None, 1, 4])}
    )
    return make_plan(
        gpus=draw(st.integers(1, 4)),
        steps=draw(st.integers(1, 3)),
        stream_batch=draw(st.booleans()),
        lanes=draw(st.sampled_from(["time", "sessions"])),
        sessions=sessions,
        visits=draw(st.lists(visits, max_size=sessions)),
        source_fps=draw(st.sampled_from([None, 16.0])),
        admission=draw(st.sampled_from(["accept_all", "drop_oldest", "drop_newest"])),
        dispatch=draw(st.sampled_from(sorted(DISPATCH))),
        batching={"batch": draw(st.integers(1, 3))},
        max_waiting=draw(st.integers(1, 3)),
        chunks=draw(st.integers(3, 8)),
    )


@given(shared())
@settings(deadline=None, max_examples=60)
def test_the_door_knows_what_a_look_at_every_session_finds(plan) -> None:
    plain = simulate(plan, FlatLatency())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "Controller", Looking)
        assert simulate(plan, FlatLatency()) == plain
