"""Can a person read the result in the terminal?"""

import io
from dataclasses import replace

import pytest
from reports_synthetic import ring_records
from rich.console import Console
from rich.table import Table

from streamtwin.core.metrics import compute_metrics
from streamtwin.reports.comparison import ValidationResult, compare_runs
from streamtwin.reports.tables import comparison_table, metrics_tables
from streamtwin.reports.words import milliseconds, quantity, share


def _text(*tables: Table, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _result(scale: float) -> ValidationResult:
    measured = [ring_records("measured", scale=scale * off) for off in (0.99, 1.0, 1.01)]
    return ValidationResult("ring", (compare_runs("2 GPUs", [], ring_records(), measured),))


def test_bound_and_spread_stand_beside_the_error() -> None:
    text = _text(comparison_table(_result(1.05)))
    assert "spread %" in text
    assert "bound %" in text
    (fps,) = [line for line in text.splitlines() if "fps, frames/s" in line]
    cells = fps.split()
    assert cells[4] == "+4.9"  # 5 % on all but the host's time
    assert cells[6:8] == ["10.0", "within"]
    assert any(line.strip() == "2 GPUs" for line in text.splitlines())
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())


def test_repeats_that_disagree_are_called_so() -> None:
    assert "differ by up to" not in _result(1.0).remark
    measured = [ring_records("measured", scale=scale) for scale in (0.8, 1.0, 1.2)]
    noisy = ValidationResult("v", (compare_runs("a", [], ring_records(), measured),))
    assert "differ by up to 4" in noisy.remark
    assert "worst" in noisy.remark


def test_a_broken_bound_is_said_in_words() -> None:
    assert "OUTSIDE" in _text(comparison_table(_result(1.3)))
    assert "OUTSIDE" not in _text(comparison_table(_result(1.0)))


def test_one_repeat_has_no_spread_to_show() -> None:
    deployment = compare_runs("a", [], ring_records(), [ring_records("measured")])
    assert "one run" in _text(comparison_table(ValidationResult("v", (deployment,))))


def test_the_metrics_of_a_run_are_shown_with_units() -> None:
    text = _text(*metrics_tables(compute_metrics(ring_records(ranks=4, fps=16))))
    for expected in ("fps, frames/s", "period, ms", "memory, MiB", "busy, %", "rank 3", "input"):
        assert expected in text
    assert "policy wait" not in text  # a cause that did not occur
    assert "host-a, 2026-01-02" in text


def test_eight_ranks_fit_a_terminal() -> None:
    text = _text(*metrics_tables(compute_metrics(ring_records(ranks=8, chunks=60))), width=100)
    assert "…" not in text
    assert "rank 7" in text


def test_few_chunks_have_no_high_percentiles() -> None:
    def latencies(count: int) -> list[str]:
        metrics = compute_metrics(ring_records())
        metrics["latency_s"] = metrics["latency_s"] | {"count": count}
        lines = _text(metrics_tables(metrics)[1]).splitlines()
        (cells,) = [line.split() for line in lines if "│ latency" in line]
        return [cell for cell in cells if cell not in ("│", "latency")]

    for count, missing in ((9, 3), (10, 2), (19, 2), (20, 1), (99, 1), (100, 0)):
        p50, *high, longest, shown = latencies(count)
        assert shown == str(count)
        assert high[len(high) - missing :] == ["-"] * missing
        assert "-" not in (p50, longest, *high[: len(high) - missing])


def test_a_run_without_a_steady_window_says_so() -> None:
    short, whole = (compute_metrics(ring_records(chunks=chunks)) for chunks in (5, 30))
    assert not short["steady_reached"]
    text = " ".join(_text(*metrics_tables(short)).split())
    assert "too short for a steady window: its figures are of the whole run" in text
    assert "in the steady window" not in text
    steady = _text(*metrics_tables(whole))
    assert "too short" not in steady
    assert "times in the steady window, ms" in steady


def test_what_is_not_judged_says_why_on_80_columns() -> None:
    short = compare_runs("a", [], ring_records(chunks=5), [ring_records("measured", chunks=5)])
    table = comparison_table(ValidationResult("v", (short,)))
    assert _text(table).count("not judged: no steady window") == 2
    assert "…" not in _text(table, width=80)
    assert "within" not in _text(table)


def test_the_comparison_says_where_its_numbers_come_from() -> None:
    text = " ".join(_text(comparison_table(_result(1.0))).split())
    assert "Predicted from: latency: simulated: host-a, 2026-01-02." in text
    assert "Measured: latency: measured: host-a, 2026-01-02." in text


def test_missing_numbers_are_named_so() -> None:
    metrics = compute_metrics(ring_records()) | {"fps": None, "period_s": float("nan")}
    assert _text(*metrics_tables(metrics)).count("n/a") == 2


def test_names_in_brackets_are_text_and_no_markup() -> None:
    metrics = compute_metrics(ring_records()) | {"scenario": "[red]x[/red]"}
    assert "[red]x[/red]" in _text(*metrics_tables(metrics))
    result = _result(1.0)
    odd = replace(result.deployments[0], label="[bold]2")
    assert "[bold]2" in _text(comparison_table(ValidationResult("[i]v", (odd,))))
    assert "[i]v" in _text(comparison_table(ValidationResult("[i]v", (odd,))))


def test_a_long_label_is_wrapped_before_a_number_is_cut_off() -> None:
    long = replace(_result(1.0).deployments[0], label="W=2 N=2 two sessions at 8 fps")
    text = _text(comparison_table(ValidationResult("v", (long,))), width=80)
    assert "predicted" in text
    assert "not judged" in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5, "1500"), (0.0123, "12.3"), (0.00123, "1.23"), (0, "0.00")]
)
def test_times_are_read_in_ms(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text
    assert quantity(seconds, "s") == text


def test_shares_are_read_in_percent_without_a_negative_zero() -> None:
    assert share(0.123) == "12.3"
    assert share(0.05, sign=True) == "+5.0"
    assert share(-0.0001, sign=True) == "0.0"
    assert share(float("nan")) == "n/a"
