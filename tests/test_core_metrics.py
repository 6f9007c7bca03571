"""Metrics, bubbles and playback on records made by hand."""

from dataclasses import replace

import pytest

from streamtwin.core.bubbles import rank_times
from streamtwin.core.errors import RunError
from streamtwin.core.intervals import gaps, overlap_s, union_s
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import ChunkRecord, RankInfo, Records, RunInfo, Span
from streamtwin.core.viewer import play


def records(spans: list[Span], emitted: list[float], ranks: int = 1, **workload: float) -> Records:
    info = RunInfo(
        source="simulated",
        scenario={"name": "made", "workload": {"chunks": len(emitted), **workload}},
        provenance={},
        ranks=tuple(RankInfo(rank, (rank, rank + 1), {}) for rank in range(ranks)),
        warmup_chunks=1,
        tail_chunks=0,
    )
    chunks = [
        ChunkRecord(0, i, t - 0.5, t - 0.5, t, 5 if i == 0 else 4, "emitted")
        for i, t in enumerate(emitted)
    ]
    return Records(info, tuple(spans), tuple(chunks), ())


def test_fps_is_frames_over_elapsed_time_and_not_the_mean_of_rates() -> None:
    metrics = compute_metrics(records([], [1.0, 2.0, 2.1, 4.0]))
    # between the emissions at 2.0 and 4.0 s: two chunks of four frames
    assert metrics["fps"] == pytest.approx(8 / 2.0)
    assert metrics["fps_mean_instantaneous"] == pytest.approx((4 / 0.1 + 4 / 1.9) / 2)
    assert metrics["period_s"] == pytest.approx(1.0)
    assert metrics["ttff_s"] == 1.0
    assert metrics["latency_s"]["p50"] == pytest.approx(0.5)


def test_too_short_a_run_has_no_period() -> None:
    with pytest.raises(RunError, match="2 chunks were emitted"):
        compute_metrics(records([], [1.0, 2.0]))


def test_glass_to_glass_counts_from_the_first_frame_of_a_live_chunk() -> None:
    metrics = compute_metrics(records([], [1.0, 2.0, 3.0, 4.0], source_fps=8))
    assert metrics["glass_to_glass_s"]["p50"] == pytest.approx(0.5 + 3 / 8)


def span(rank: int, kind: str, began_s: float, ended_s: float, peer: int = -1) -> Span:
    return Span(rank, kind, began_s, ended_s, peer=peer)  # type: ignore[arg-type]


TWO_RANKS = [
    span(0, "encode", 0.0, 1.0),
    span(0, "dit", 1.0, 3.0),
    span(0, "wait_input", 3.5, 4.0),
    span(0, "dit", 4.0, 6.0),
    span(0, "wait_hop", 6.0, 8.0, peer=1),
    span(0, "dit", 8.0, 9.0),
    span(1, "dit", 0.0, 1.0),
    span(1, "wait_hop", 1.0, 4.5, peer=0),
    span(1, "hop", 4.5, 5.0, peer=0),
    span(1, "dit", 5.0, 6.0),
    span(1, "wait_sent", 6.0, 7.0),
    span(1, "decode", 7.0, 9.0),
]


def test_every_idle_piece_has_its_cause() -> None:
    whole = (-1.0, 100.0)
    first, second = rank_times(records(TWO_RANKS, [1.0, 2.0, 3.0], ranks=2), whole)
    causes = {k: v for k, v in first.seconds_by_cause().items() if v}
    # from 6.0 s on rank 0 waits for rank 1, which waits to be rid of its item until 7.0 s and
    # has waited since, whatever it does then
    assert causes == pytest.approx({"host": 0.5, "input": 0.5, "downstream": 2.0})
    causes = {k: v for k, v in second.seconds_by_cause().items() if v}
    # rank 0 serves until 3.5 s without having waited, then waits for input itself, and what it does
    # after that is late for want of input too
    assert causes == pytest.approx(
        {"imbalance": 2.5, "input": 1.0, "communication": 0.5, "downstream": 1.0}
    )
    assert (second.busy_s, second.span_s) == pytest.approx((4.0, 9.0))


def test_outside_the_steady_window_a_bubble_is_fill_or_drain() -> None:
    _, second = rank_times(records(TWO_RANKS, [1.0, 2.0, 3.0], ranks=2), (2.0, 6.5))
    causes = {k: v for k, v in second.seconds_by_cause().items() if v}
    assert causes["fill_drain"] == pytest.approx(1.0 + 0.5)
    assert sum(causes.values()) == pytest.approx(5.0)


def test_playback_without_a_stall() -> None:
    playback = play([1.0, 1.2, 1.4], [5, 4, 4], fps=16.0, start_buffer_chunks=1)
    assert (playback.start_s, playback.stalls, playback.stall_s) == (1.0, 0, 0.0)
    assert playback.continuous_play_ratio == 1.0
    assert playback.slack_s == pytest.approx(1.0 + 5 / 16 - 1.2)


def test_playback_stalls_until_the_chunk_comes_and_shifts_the_clock() -> None:
    playback = play([1.0, 2.0, 2.3], [4, 4, 4], fps=16.0, start_buffer_chunks=1)
    assert playback.stalls == 2
    assert playback.stall_s == pytest.approx(0.75 + 0.05)
    assert playback.slack_s == pytest.approx(-0.75)
    assert playback.continuous_play_ratio == pytest.approx(0.75 / (0.75 + 0.8))
    assert playback.due_s == pytest.approx((1.0, 1.25, 1.5))


def test_a_start_buffer_buys_slack() -> None:
    playback = play([1.0, 2.0, 2.3], [4, 4, 4], fps=16.0, start_buffer_chunks=2)
    assert (playback.start_s, playback.stalls) == (2.0, 0)


def test_intervals() -> None:
    assert gaps([(1.0, 2.0), (3.0, 4.0)], (0.0, 5.0)) == [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)]
    assert gaps([(1.0, 9.0)], (0.0, 5.0)) == [(0.0, 1.0)]
    assert overlap_s([(1.0, 2.0), (3.0, 9.0)], (1.5, 4.0)) == pytest.approx(1.5)


def test_a_run_too_short_to_be_steady_says_so() -> None:
    assert compute_metrics(records([], [1.0, 2.0, 3.0, 4.0]))["steady_reached"]
    short = records([], [1.0, 2.0, 3.0])
    late = replace(short, info=replace(short.info, warmup_chunks=2))
    assert not compute_metrics(late)["steady_reached"]


def test_busy_time_is_counted_from_services_and_not_from_bubbles() -> None:
    """The law has teeth only if the two sides are computed apart."""
    first, second = rank_times(records(TWO_RANKS, [1.0, 2.0, 3.0], ranks=2), (-1.0, 100.0))
    for time in (first, second):
        assert time.idle_s == pytest.approx(sum(b.ended_s - b.began_s for b in time.bubbles))
    assert union_s([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)]) == pytest.approx(4.0)


def test_the_steady_window_is_cut_to_whole_turns_of_the_lanes() -> None:
    """Two lanes that emit in bursts: an odd number of chunks would favour the short gap."""
    emitted = [0.0, 1.0]
    for _ in range(4):
        emitted += [emitted[-1] + 3.0, emitted[-1] + 3.1]
    metrics = compute_metrics(records([], emitted, ranks=2))
    assert metrics["steady_reached"]
    assert metrics["period_s"] == pytest.approx(3.1 / 2)


def test_promises_are_kept_or_broken() -> None:
    metrics = compute_metrics(records([], [1.0, 2.0, 3.0, 4.0]))
    promises = metrics["slo"]
    assert promises["fps"] == {"promised": 16.0, "found": pytest.approx(4.0), "met": False}
    assert promises["latency_s"]["met"]
    assert not promises["miss_rate"]["met"]
    assert promises["ttff_s"]["met"]
