"""Where two decision logs part is found and told, and a log that does not hold is found out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from decisions_logs import changed, index_of, run
from hypothesis import given
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.decision_log import (
    Difference,
    first_difference,
    replayed,
    seen_in_full,
    tallies,
)
from streamtwin.core.log_checks import scenario_of
from streamtwin.core.policies.batching import BATCHING, LaneView
from streamtwin.core.policies.dispatch import DISPATCH, DISPATCH_ORDER, WaitingChunk
from streamtwin.core.policies.noise import NOISE, MotionView
from streamtwin.core.told_line import ToldLine, hear
from streamtwin.reports.decision_tables import difference_table
from streamtwin.reports.decision_words import in_a_line
from streamtwin.sim.simulate import simulate


def found(difference: Difference | None) -> Difference:
    assert difference is not None
    return difference


def test_the_first_difference_says_what_each_saw_and_chose() -> None:
    records = run()
    index = next(i for i, d in enumerate(records.decisions) if d.chose == "drop_oldest")
    old = records.decisions[index]
    log = changed(records, index, saw={"waiting": 0, "max_waiting": 1}, chose="accept")
    difference = found(first_difference(records.decisions, log))
    assert difference.first.number == index + 1
    assert difference.unlike == ["waiting"]
    words = in_a_line(difference)
    assert words == (
        f"decision {index + 1} (admission 'drop_oldest', session {old.session}, chunk {old.chunk}, "
        f"{old.time_s:.4f} s): saw waiting 1 and 0; chose drop_oldest and accept"
    )
    cells = [
        [str(cell) for cell in column.cells]
        for column in difference_table("first difference", difference, ("a", "b")).columns
    ]
    rows = list(zip(*cells, strict=True))
    # what differs stands before what does not
    assert rows[-2:] == [("saw waiting", "1", "0"), ("saw max_waiting", "1", "1")]
    assert ("chose", "drop_oldest", "accept") in rows


def test_of_several_differences_the_earliest_is_told() -> None:
    records = run()
    log, last = list(records.decisions), index_of(records, "noise", -1)
    first = index_of(records, "batching", 2)
    for index in (last, first):
        log[index] = replace(log[index], chose=99.0)
    assert found(first_difference(records.decisions, log)).first.number == first + 1
    counted = tallies(records.decisions, log)
    assert counted["noise"].alike == counted["noise"].here - 1
    assert counted["dispatch"].alike == counted["dispatch"].here == counted["dispatch"].there


def test_the_order_of_decisions_about_different_things_is_no_difference() -> None:
    records = run()
    later = [replace(d, time_s=2 * d.time_s + 1) for d in records.decisions]
    by_family = sorted(later, key=lambda decision: decision.family)
    assert first_difference(records.decisions, by_family) is None


def test_a_log_that_ends_early_differs_where_it_ends() -> None:
    records = run()
    cut = index_of(records, "noise", -1)
    difference = found(first_difference(records.decisions, records.decisions[:cut]))
    assert difference.there is None
    assert "nothing any more" in in_a_line(difference)


def test_seconds_that_were_seen_can_be_left_out() -> None:
    here, there = (
        simulate(make_plan(gpus=2, chunks=9), FlatLatency(encode_s=s)) for s in (0.02, 0.021)
    )
    difference = found(first_difference(here.decisions, there.decisions))
    assert all(name.partition(".")[0].endswith("_s") for name in difference.unlike)
    assert first_difference(here.decisions, there.decisions, seconds=False) is None


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("admission", {"chose": "drop_new"}),
        ("batching", {"chose": 3}),
        ("dispatch", {"session": 3, "chunk": 4, "chose": 4}),
        ("noise", {"chose": 0.5}),
        ("partition", {"chose": "4/2"}),
        ("batching", {"saw": LaneView(0, 0, 2, 2).saw()}),
    ],
)
def test_a_choice_that_does_not_follow_is_found_where_it_stands(
    family: str, fields: dict[str, Any]
) -> None:
    records = run()
    index = index_of(records, family)
    difference = found(replayed(scenario_of(records), changed(records, index, **fields)))
    assert difference.first.number == index + 1
    assert difference.unlike == []
    assert "saw" not in in_a_line(difference)


def test_a_policy_that_remembers_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[LaneView] = []

    def moody(view: LaneView) -> int:
        asked.append(view)
        return min(view.most, 1 + len(asked) % 2)

    monkeypatch.setitem(BATCHING, "fixed", moody)
    # the controller asks a policy that sees no seconds once for what it has seen before
    records = run()
    assert replayed(scenario_of(records), records.decisions) is not None


def test_an_executor_that_shows_a_policy_something_else_is_found_out() -> None:
    honest = NOISE["motion_window"]
    with pytest.MonkeyPatch.context() as patch:
        still: Any = lambda view: honest(replace(view, rate=0.9 * view.rate))  # noqa: E731
        patch.setitem(NOISE, "motion_window", still)
        records = run(conditioning={"noise": "motion_window"})
    difference = found(replayed(scenario_of(records), records.decisions))
    seen = MotionView(**difference.first.saw)
    assert difference.here is not None
    assert difference.there is not None
    assert difference.here.decision.chose != difference.there.decision.chose == honest(seen)


def test_a_line_in_the_log_is_what_the_policy_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[WaitingChunk]] = []
    honest = DISPATCH["priority"]

    def watched(waiting: Sequence[WaitingChunk]) -> int:
        shown.append(list(waiting))
        return honest(waiting)

    monkeypatch.setitem(DISPATCH, "priority", watched)
    monkeypatch.delitem(DISPATCH_ORDER, "priority")
    records = run(lanes="sessions", sessions=5)
    logged = [
        seen_in_full(records.decisions, index)
        for index, decision in enumerate(records.decisions)
        if decision.family == "dispatch"
    ]
    told = [_line(saw) for saw in logged]
    assert len([one for one in told if len(one) > 1]) > 5
    # a chunk that stands alone is taken unasked
    for line in shown:
        assert line in told
    assert [line for line in told if len(line) > 1] == [line for line in shown if len(line) > 1]


def _line(saw: dict[str, float]) -> list[WaitingChunk]:
    return hear({}, {name: value for name, value in saw.items() if "." in name})


chunks = st.builds(
    WaitingChunk,
    st.integers(0, 4),
    st.integers(0, 9),
    st.floats(0, 9),
    st.floats(0, 9),
    st.integers(-2, 2),
)


@given(st.lists(st.one_of(chunks, st.integers(0, 4), st.none()), max_size=40))
def test_a_line_is_told_piece_by_piece(events: list[WaitingChunk | int | None]) -> None:
    """Chunks come to the head, heads go, and now and then one is chosen; its session is next to none."""
    heads: dict[int, WaitingChunk] = {}
    told, heard = ToldLine(2), dict[int, WaitingChunk]()
    for event in events:
        if isinstance(event, WaitingChunk):
            heads[event.session] = event
            told.changed(event.session)
        elif isinstance(event, int):
            heads.pop(event, None)
            told.changed(event)
        elif heads:
            chosen = heads[min(heads)]
            saw = told.tell(heads, chosen)
            assert saw["line"] == 2
            assert hear(heard, saw) == [heads[session] for session in sorted(heads)]
            heard.pop(chosen.session)
            del heads[chosen.session]
            told.changed(chosen.session)
