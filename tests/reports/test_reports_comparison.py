"""Are errors, spreads and bounds what their definitions say?"""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_synthetic import ring_records

from streamtwin.core.errors import RunError, UserError
from streamtwin.core.metrics import compute_metrics
from streamtwin.reports.comparison import (
    ComparisonRow,
    ValidationResult,
    compare,
    compare_runs,
    relative_error,
)


def _metrics(fps: float | None, busy: float = 0.5) -> dict[str, Any]:
    return {
        "fps": fps,
        "period_s": None if not fps else 4 / fps,
        "ttff_s": 0.5,
        "latency_s": {"p50": 0.3, "p95": 0.4, "count": 20},
        "steady_reached": True,
        "ranks": [{"rank": 0, "busy_fraction": busy}, {"rank": 1, "busy_fraction": 2 * busy}],
    }


def _row(rows: list[ComparisonRow], metric: str = "fps") -> ComparisonRow:
    (row,) = [row for row in rows if row.metric == metric]
    return row


def test_the_rows_are_the_metrics_that_people_compare() -> None:
    rows = compare(_metrics(16), [_metrics(16)])
    assert [(row.metric, row.unit) for row in rows] == [
        ("fps", "frames/s"),
        ("period_s", "s"),
        ("ttff_s", "s"),
        ("latency_s p50", "s"),
        ("latency_s p95", "s"),
        ("busy_fraction rank 0", "1"),
        ("busy_fraction rank 1", "1"),
    ]
    assert [row.metric for row in rows if row.bound is not None] == ["fps", "period_s"]
    assert [row.ok for row in rows] == [True, True, None, None, None, None, None]


def test_measured_is_the_median_and_spread_the_range_over_it() -> None:
    row = _row(compare(_metrics(18), [_metrics(fps) for fps in (21, 19, 20)]))
    assert (row.predicted, row.measured, row.repeats) == (18, 20, 3)
    assert row.error == pytest.approx(-0.10)
    assert row.spread == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("repeats", "bound"),
    [
        ([20.0], 0.10),
        ([20.0, 20.0, 20.0], 0.10),
        ([19.5, 20.0, 20.4], 0.10),  # spread 4.5 %
        ([19.0, 20.0, 21.0], 0.20),  # spread 10 %
        ([18.0, 20.0, 23.0], 0.50),  # spread 25 %
    ],
)
def test_the_bound_is_ten_percent_or_twice_the_spread(repeats: list[float], bound: float) -> None:
    row = _row(compare(_metrics(20), [_metrics(fps) for fps in repeats]))
    assert row.bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("predicted", "repeats", "ok"),
    [
        (21.9, [20.0], True),
        (22.1, [20.0], False),
        (18.1, [20.0], True),
        (17.9, [20.0], False),
        (23.9, [19.0, 20.0, 21.0], True),
        (24.1, [19.0, 20.0, 21.0], False),
    ],
)
def test_ok_is_within_the_bound_on_both_sides(
    predicted: float, repeats: list[float], ok: bool
) -> None:
    row = _row(compare(_metrics(predicted), [_metrics(fps) for fps in repeats]))
    assert row.ok is ok


@given(
    predicted=st.floats(0.1, 1e3),
    repeats=st.lists(st.floats(0.1, 1e3), min_size=1, max_size=7),
    scale=st.sampled_from([0.25, 2.0, 1024.0]),
)
def test_a_change_of_unit_changes_no_verdict(
    predicted: float, repeats: list[float], scale: float
) -> None:
    small = _row(compare(_metrics(predicted), [_metrics(fps) for fps in repeats]))
    large = _row(compare(_metrics(scale * predicted), [_metrics(scale * fps) for fps in repeats]))
    assert (large.error, large.spread, large.bound) == (small.error, small.spread, small.bound)
    assert large.ok is small.ok
    assert small.ok is (abs(small.error) <= max(0.10, 2 * small.spread))


@pytest.mark.parametrize(
    ("predicted", "measured"),
    [(math.nan, [20.0]), (20.0, [20.0, math.nan, 20.0]), (None, [20.0]), (20.0, [None])],
)
def test_what_is_not_known_is_not_ok(predicted: float | None, measured: list[float | None]) -> None:
    rows = compare(_metrics(predicted), [_metrics(fps) for fps in measured])
    assert math.isnan(_row(rows).error)
    assert _row(rows).ok is False
    assert _row(rows, "period_s").ok is False or predicted == predicted


SHORT = _metrics(16) | {"steady_reached": False}


@pytest.mark.parametrize(
    ("predicted", "measured"),
    [
        (SHORT, [_metrics(16)]),
        (_metrics(16), [_metrics(16), SHORT]),
        (_metrics(16), [_metrics(99), SHORT]),
        (SHORT, [SHORT]),
    ],
)
def test_without_a_steady_window_nothing_is_judged(
    predicted: dict[str, Any], measured: list[dict[str, Any]]
) -> None:
    for row in compare(predicted, measured):
        assert (row.bound, row.ok) == (None, None)
        judged = row.metric in ("fps", "period_s")
        assert row.reason == ("no steady window" if judged else "")
    fps = _row(compare(predicted, measured))
    assert fps.predicted == 16.0
    assert math.isfinite(fps.error)


def test_a_validation_that_could_judge_nothing_is_not_ok() -> None:
    good = compare_runs("a", [], ring_records(), [ring_records("measured")])
    short = compare_runs("b", [], ring_records(chunks=5), [ring_records("measured", chunks=5)])
    assert good.judged
    assert not short.judged
    assert not short.ok
    assert not ValidationResult("v", (short,)).ok
    assert not ValidationResult("v", (good, short)).ok
    assert ValidationResult("v", (short,)).remark == "Nothing could be judged: no steady window."


@pytest.mark.parametrize(("count", "known"), [(19, False), (20, True)])
def test_a_percentile_of_too_few_chunks_is_unknown(count: int, known: bool) -> None:
    few = _metrics(16) | {"latency_s": {"p50": 0.3, "p95": 0.4, "count": count}}
    rows = compare(few, [_metrics(16)])
    assert math.isnan(_row(rows, "latency_s p95").predicted) is not known
    assert _row(rows, "latency_s p50").predicted == 0.3


def test_zero_has_an_error_only_where_it_has_a_meaning() -> None:
    assert relative_error(0.0, 0.0) == 0.0
    assert math.isnan(relative_error(1.0, 0.0))
    rows = compare(_metrics(16, busy=0.0), [_metrics(16, busy=0.0)])
    assert _row(rows, "busy_fraction rank 0").error == 0.0
    assert _row(compare(_metrics(16), [_metrics(0.0)])).ok is False


def test_a_rank_that_was_not_measured_is_unknown() -> None:
    short = _metrics(16) | {"ranks": []}
    row = _row(compare(_metrics(16), [short]), "busy_fraction rank 1")
    assert math.isnan(row.measured)


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(UserError, match="no measured run"):
        compare(_metrics(16), [])
    with pytest.raises(UserError, match="no measured run"):
        compare_runs("x", [], ring_records(), [])


def test_a_run_too_short_to_compare_says_so() -> None:
    with pytest.raises(RunError, match="2 chunks were emitted"):
        compare_runs("x", [], ring_records(), [ring_records("measured", chunks=2)])


def test_the_run_shown_is_the_one_of_median_fps() -> None:
    measured = [ring_records("measured", scale=scale) for scale in (1.2, 0.9, 1.05)]
    result = compare_runs("2 GPUs", ["deployment.gpus=2"], ring_records(), measured)
    assert result.measured is measured[2]
    assert result.rows[0].measured == compute_metrics(measured[2])["fps"]
    assert result.ok
    assert result.overrides == ("deployment.gpus=2",)


def test_one_deployment_outside_its_bound_fails_the_validation() -> None:
    good = compare_runs("a", [], ring_records(), [ring_records("measured")])
    bad = compare_runs("b", [], ring_records(), [ring_records("measured", scale=1.5)])
    assert ValidationResult("v", (good,)).ok
    assert not bad.ok
    assert not ValidationResult("v", (good, bad)).ok
