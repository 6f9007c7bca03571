"""Does a page say how much its numbers are worth: from where, of how many chunks, judged or not?"""

import html as entities
import re

from reports_synthetic import ring_records

from streamtwin.reports.comparison import ValidationResult, compare_runs
from streamtwin.reports.origin import origin
from streamtwin.reports.page import render_run, render_validation, validation_verdict


def _text(html: str) -> str:
    return " ".join(entities.unescape(re.sub(r"<[^>]*>", " ", html)).split())


FROM_PROFILE = {
    "service_times": "measured",
    "profile": "bench on a card",
    "profile_date": "2026-01-02",
    "extrapolated": "false",
    "engine": "simpy",
}


def test_the_comparison_states_where_both_sides_come_from() -> None:
    here = {"service_times": "measured", "device": "cpu", "host": "vm", "date": "2026-02-03"}
    predicted = ring_records("simulated", provenance=FROM_PROFILE)
    measured = ring_records("measured", provenance=here)
    both = tuple(compare_runs(label, [], predicted, [measured]) for label in "ab")
    line = "Predicted from: profile bench on a card, 2026-01-02 (measured). "
    line += "Measured: vm, cpu, 2026-02-03."
    text = _text(render_validation(ValidationResult("x", both)))
    assert text.count(line) == 1
    assert text.index(line) < text.index("Where these numbers come from")


def test_an_extrapolated_prediction_is_marked_beside_the_comparison() -> None:
    far = ring_records("simulated", provenance=FROM_PROFILE | {"extrapolated": "true"})
    assert origin(far) == "profile bench on a card, 2026-01-02 (measured, extrapolated)"


def test_a_run_without_a_steady_window_is_shown_and_not_judged() -> None:
    simulated, measured = (ring_records(s, chunks=5) for s in ("simulated", "measured"))
    short = compare_runs("short", [], simulated, [measured])
    html = render_validation(ValidationResult("x", (short,)))
    assert "the bounds</b>" not in html
    text = _text(html)
    assert "Nothing could be judged: no steady window." in text
    assert text.count("not judged: no steady window") == 2
    good = compare_runs("good", [], ring_records(), [ring_records("measured")])
    mixed = ValidationResult("x", (good, short))
    assert "on 1 of 2 deployments, 1 not judged (no steady window)." in validation_verdict(mixed)
    assert "too short for a steady window" in render_run(measured)


def test_the_page_counts_the_chunks_beside_their_percentiles() -> None:
    text = _text(render_run(ring_records("measured", 4, fps=16)))
    assert re.search(r"latency of \d\d chunks p50", text)
    assert "latency p99 - ms" in text
    assert re.search(r"latency, chunks counted \d\d ", text)
    long = _text(render_run(ring_records(chunks=120)))
    assert re.search(r"latency p99 [\d.]+ ms", long)
