"""Classes are judged by their own promises, served by them, and watched with their own buffer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.controller import Controller
from streamtwin.core.line import Line
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.policies.admission import QueueView, keep_newest
from streamtwin.core.policies.dispatch import WaitingChunk, priority
from streamtwin.core.policies.noise import NOISE, MotionView
from streamtwin.core.records import Recorder
from streamtwin.core.session_metrics import active_gaps_s
from streamtwin.core.terms import terms_of
from streamtwin.core.viewer import play
from streamtwin.reports.page import render_run
from streamtwin.reports.tables import metrics_tables
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.simulate import simulate

CALL = {"share": 0.5, "source_fps": 16, "slo": {"fps": 16, "latency_s": 0.6}, "priority": 1}
FILM = {
    "share": 0.5,
    "source_fps": 8,
    "slo": {"fps": 8, "latency_s": 5, "ttff_s": 9},
    "viewer": {"start_buffer_s": 3},
}
QUICK = FlatLatency(encode_s=0.01, block_s=0.004, decode_s=0.015, hop_s=0.002)


def mixed(**changes: object) -> Plan:
    defaults = {"gpus": 1, "sessions": 4, "chunks": 20, "classes": {"call": CALL, "film": FILM}}
    return make_plan(**{**defaults, **changes})


def test_a_class_says_what_holds_for_its_sessions_and_the_scenario_the_rest() -> None:
    plan = mixed(slo={"fps": 30}, classes={"call": CALL, "film": {"share": 0.5}}, source_fps=24)
    call, film = (terms_of(plan.scenario, session) for session in range(2))
    assert (call.name, call.source_fps, call.slo.fps, call.priority) == ("call", 16, 16, 1)
    assert (film.name, film.source_fps, film.slo.fps, film.priority) == ("film", 24, 30, 0)
    assert film.viewer == plan.scenario.viewer


def test_figures_of_a_class_are_those_of_its_sessions() -> None:
    metrics = compute_metrics(simulate(mixed(chunks=60), QUICK))
    call, film = metrics["classes"]
    for figures, fps in ((call, 16), (film, 8)):
        own = [one for one in metrics["sessions"] if one["class"] == figures["class"]]
        assert figures["sessions"] == figures["watched"] == len(own) == 2
        assert figures["fps"] == min(one["fps"] for one in own) == pytest.approx(fps, rel=0.03)
        assert figures["ttff_s"] == max(one["ttff_s"] for one in own)
        assert figures["latency_s"]["count"] == sum(one["latency_s"]["count"] for one in own)
        assert figures["stalls"] == sum(one["viewer"]["stalls"] for one in own)
        assert figures["slack_s"] == min(one["viewer"]["slack_s"] for one in own)
        assert figures["slo"]["fps"]["promised"] == fps
        assert list(figures["slack_percentiles_s"].values()) == sorted(
            figures["slack_percentiles_s"].values()
        )
    # half a second of buffer for the one, three seconds for the other
    assert film["slack_percentiles_s"]["p50"] > call["slack_percentiles_s"]["p50"] + 2


def test_a_promise_is_kept_if_every_class_keeps_its_own() -> None:
    """The film runs at 8 frames/s, as promised; by the scenario's 16 it would have failed."""
    metrics = compute_metrics(simulate(mixed(steps=1), QUICK))
    assert metrics["fps"] < 9
    assert metrics["slo"]["fps"]["met"]
    slow = FlatLatency(encode_s=0.06, block_s=0.004, decode_s=0.06)
    broken = compute_metrics(simulate(mixed(steps=1), slow))
    assert not broken["slo"]["latency_s"]["met"]
    assert broken["slo"]["latency_s"]["promised"] == 0.6


def test_the_tables_have_a_row_for_each_class() -> None:
    metrics = compute_metrics(simulate(mixed(), QUICK))
    table = next(one for one in metrics_tables(metrics) if "classes" in str(one.title))
    assert [str(cell) for cell in table.columns[0].cells] == ["call", "film"]


def test_the_page_has_what_each_session_class_and_copy_got() -> None:
    records = simulate_deployment(mixed(replicas=2), QUICK)
    page, metrics = render_run(records), compute_metrics(records)
    for title in ("Sessions, each", "Classes; fps", "Replicas, each"):
        assert f"<h3>{title}" in page
    for one in metrics["classes"]:
        assert f"<td>{one['class']}</td>" in page
    rows = page.split("<h3>Sessions, each")[1].split("</table>")[0].count("<tr>")
    assert rows == 1 + len(metrics["sessions"]) + 1  # the head, and all together


def waiting_of(plan: Plan, released_s: list[float]) -> tuple[Controller, list[WaitingChunk]]:
    controller = Controller(plan, Recorder())
    for book, at_s in zip(controller.books, released_s, strict=True):
        book.queue.release(at_s)
    return controller, [book.head for book in controller.books if book.head is not None]


def test_batching_weighs_each_session_by_its_own_promise() -> None:
    controller, waiting = waiting_of(mixed(sessions=2), [1.0, 1.0])
    controller._now_s, line = 1.2, Line("fifo")
    for chunk in waiting:
        line.stands(chunk.session, chunk)
    assert controller._slack_s(line) == pytest.approx((0.4, 4.8))


def test_the_earliest_deadline_is_of_the_stricter_promise() -> None:
    classes = {"film": {**FILM, "source_fps": 16}, "call": CALL}
    _, waiting = waiting_of(mixed(sessions=2, classes=classes), [1.0, 1.0])
    assert [chunk.session for chunk in waiting] == [0, 1]
    assert waiting[0].deadline_s - waiting[1].deadline_s == pytest.approx(5 - 0.6)
    served = make_plan(
        gpus=1, chunks=12, sessions=6, steps=1, classes=classes, dispatch="earliest_deadline"
    )
    crowded = FlatLatency(encode_s=0.01, block_s=0.004, decode_s=0.025)
    figures = compute_metrics(simulate(served, crowded))["classes"]
    late = {one["class"]: one["latency_s"]["p50"] for one in figures}
    assert late["call"] < late["film"]


@given(st.lists(st.tuples(st.integers(-2, 2), st.floats(0, 9)), min_size=1, max_size=8))
def test_priority_goes_first_and_then_who_has_waited_longest(
    asked: list[tuple[int, float]],
) -> None:
    waiting = [WaitingChunk(i, 0, at_s, 0.0, rank) for i, (rank, at_s) in enumerate(asked)]
    chosen = waiting[priority(waiting)]
    assert chosen.priority == max(rank for rank, _ in asked)
    rivals = [one.released_s for one in waiting if one.priority == chosen.priority]
    assert chosen.released_s == min(rivals)


def test_a_class_of_higher_priority_is_served_first_under_load() -> None:
    """An overloaded card: who has priority keeps its latency, the other waits for the end."""
    classes = {"low": {"source_fps": 16}, "high": {"source_fps": 16, "priority": 5}}
    plan = make_plan(
        gpus=1, steps=1, chunks=20, sessions=2, classes=classes, dispatch="priority", max_waiting=99
    )
    figures = compute_metrics(simulate(plan, FlatLatency(block_s=0.02)))["classes"]
    low, high = (one["latency_s"]["p50"] for one in figures)
    assert high < 0.5 < low


def test_the_newest_is_kept_and_all_that_waited_are_counted_as_dropped() -> None:
    assert keep_newest(QueueView(2, 2)) == "drop_waiting"
    plan = make_plan(gpus=1, source_fps=16, admission="keep_newest", max_waiting=3, chunks=24)
    records = simulate(plan, FlatLatency(decode_s=0.8))
    outcomes = [chunk.outcome for chunk in records.chunks]
    assert len(outcomes) == 24
    assert set(outcomes) == {"emitted", "dropped"}
    jumps = [d for d in records.decisions if d.chose == "drop_waiting"]
    assert outcomes.count("dropped") == sum(d.saw["waiting"] for d in jumps)


def test_a_buffer_in_seconds_starts_when_it_is_full_and_buys_as_much_slack() -> None:
    arrive, frames = [1.0 + 0.25 * i for i in range(12)], [5] + [4] * 11
    at_once = play(arrive, frames, 16, 1)
    later = play(arrive, frames, 16, 1, 1.0)
    both = play(arrive, frames, 16, 6, 1.0)
    assert at_once.start_s == 1.0
    # 5 + 3 x 4 = 17 frames are a second and more
    assert later.start_s == 1.75
    assert both.start_s == arrive[5]
    assert later.slack_s == pytest.approx(at_once.slack_s + 0.75)
    assert len(later.slacks_s) == 8
    assert min(later.slacks_s) == later.slack_s


def test_a_viewer_expects_nothing_of_a_camera_that_is_off() -> None:
    arrive, frames = [1.0, 1.25, 4.5, 4.75], [5, 4, 4, 4]
    blamed, told = play(arrive, frames, 16, 1), play(arrive, frames, 16, 1, 0.0, [0, 0, 3, 3])
    assert blamed.stalls == 1
    assert blamed.stall_s > 2.6
    assert (told.stalls, told.stall_s) == (0, 0.0)
    assert told.due_s[2] == pytest.approx(1 + 9 / 16 + 3)


@given(
    st.lists(st.floats(0.01, 9), min_size=1, max_size=9),
    st.floats(0.05, 1),
    st.floats(0, 30),
)
def test_a_pause_takes_off_no_more_than_gaps_exceed_their_own_time(
    gaps: list[float], own_s: float, paused_s: float
) -> None:
    gaps_s = np.array(gaps)
    left = active_gaps_s(gaps_s, np.full(len(gaps), own_s), paused_s)
    assert (left >= np.minimum(gaps_s, own_s) - 1e-9).all()
    assert (left <= gaps_s + 1e-12).all()
    excess_s = np.maximum(0, gaps_s - own_s).sum()
    assert (gaps_s - left).sum() == pytest.approx(min(paused_s, excess_s), abs=1e-9)


def test_a_trace_of_motion_drives_the_noise_of_whom_it_is(tmp_path: Path) -> None:
    """Session 1 has its own trace, the class film the other's, and beyond it the picture is still."""
    lines = [f"{frame},0.2,,film" for frame in range(13)]
    lines += [f"{frame},{0.01 * frame},1," for frame in range(9)]
    path = tmp_path / "motion.csv"
    path.write_text("frame,motion,session,class\n" + "\n".join(lines))
    plan = mixed(motion=str(path), chunks=5)
    records = simulate(plan, QUICK, motion=[(0.07,) * 5, *[(0.07,) * 4] * 4])
    seen = {(d.session, d.chunk): d for d in records.decisions if d.family == "noise"}
    motion = {key: decision.saw["motion"] for key, decision in seen.items()}
    assert [motion[3, chunk] for chunk in range(5)] == [0.2, 0.2, 0.2, 0.0, 0.0]
    assert [motion[1, chunk] for chunk in range(5)] == pytest.approx([0.04, 0.08, 0, 0, 0])
    assert [motion[0, chunk] for chunk in range(5)] == [0.0] * 5
    for (_, chunk), decision in seen.items():
        if chunk:
            assert NOISE[decision.policy](MotionView(**decision.saw)) == decision.chose
