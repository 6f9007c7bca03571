"""Is the timeline a trace that a viewer can draw, and does it hold the whole run?"""

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from reports_synthetic import ring_records

from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import SERVICES, Records, Span
from streamtwin.reports.perfetto import timeline

Event = dict[str, Any]


@pytest.fixture(scope="module", params=[1, 2, 4])
def runs(request: pytest.FixtureRequest) -> dict[str, Records]:
    ranks = request.param
    return {
        "measured": ring_records("measured", ranks, scale=1.0 / 3, jitter=0.3, fps=16),
        "simulated": ring_records("simulated", ranks, scale=1.0 / 7, jitter=0.1),
    }


@pytest.fixture(scope="module")
def events(runs: dict[str, Records]) -> list[Event]:
    text = json.dumps(timeline(runs), allow_nan=False)
    return json.loads(text)["traceEvents"]


def _nanoseconds(microseconds: float) -> int:
    return round(microseconds * 1e3)


def _slices(events: list[Event]) -> list[Event]:
    return [event for event in events if event["ph"] == "X"]


def _threads(events: list[Event]) -> dict[tuple[int, int], str]:
    return {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}


def test_every_event_has_the_required_fields(events: list[Event]) -> None:
    for event in events:
        assert {"ph", "pid", "tid", "ts", "name"} <= set(event)
    for piece in _slices(events):
        assert piece["dur"] >= 0
        assert piece["ts"] >= 0


def test_slices_of_one_track_never_overlap(events: list[Event]) -> None:
    tracks: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for piece in _slices(events):
        began, length = _nanoseconds(piece["ts"]), _nanoseconds(piece["dur"])
        tracks[piece["pid"], piece["tid"]].append((began, began + length))
    assert len(tracks) > 2
    for pieces in tracks.values():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(pieces)))


def test_every_span_is_a_slice_of_its_length(runs: dict[str, Records], events: list[Event]) -> None:
    for pid, records in enumerate(runs.values(), start=1):
        slices = [e for e in _slices(events) if e["pid"] == pid and e["cat"] != "idle"]
        assert len(slices) == len(records.spans)
        for span, piece in zip(records.spans, slices, strict=True):
            assert piece["cat"] == span.kind
            assert piece["args"]["chunk"] == span.chunk
            assert piece["ts"] == pytest.approx(span.began_s * 1e6, abs=1e-3)
            assert piece["dur"] == pytest.approx(span.seconds * 1e6, abs=2e-3)


def test_processes_and_threads_are_named(runs: dict[str, Records], events: list[Event]) -> None:
    names = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert names == ["measured", "simulated"]
    threads = _threads(events)
    assert len(set(threads)) == len(threads)
    assert {(e["pid"], e["tid"]) for e in _slices(events)} == set(threads)
    for pid, records in enumerate(runs.values(), start=1):
        own = {name for (at, _), name in threads.items() if at == pid}
        ranks = len(records.info.ranks)
        assert {f"rank {rank}" for rank in range(ranks)} <= own
        hops = {f"hop {rank} → {(rank + 1) % ranks}" for rank in range(ranks)}
        assert {name for name in own if name.startswith("hop")} == (hops if ranks > 1 else set())


def test_services_and_idle_time_fill_each_rank(
    runs: dict[str, Records], events: list[Event]
) -> None:
    threads = _threads(events)
    for pid, records in enumerate(runs.values(), start=1):
        for rank in compute_metrics(records)["ranks"]:
            names = {f"rank {rank['rank']}", f"rank {rank['rank']} idle"}
            own = [
                e for e in _slices(events)
                if e["pid"] == pid and threads[pid, e["tid"]] in names
            ]  # fmt: skip
            assert sum(e["dur"] for e in own) == pytest.approx(rank["span_s"] * 1e6, rel=1e-6)
            idle = [e for e in own if e["cat"] == "idle"]
            assert {e["args"]["cause"] for e in idle} == {
                cause for cause, seconds in rank["bubbles"].items() if seconds
            }


def test_an_arrow_goes_from_the_pass_that_made_the_item_to_a_later_one(
    runs: dict[str, Records], events: list[Event]
) -> None:
    begins = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert set(begins) == set(ends)
    hops = sum(span.kind == "hop" for records in runs.values() for span in records.spans)
    assert len(begins) == hops
    for number, begin in begins.items():
        assert begin["ts"] < ends[number]["ts"]
        for end in (begin, ends[number]):
            inside = [
                e for e in _slices(events)
                if (e["pid"], e["tid"]) == (end["pid"], end["tid"])
                and e["ts"] <= end["ts"] < e["ts"] + e["dur"]
            ]  # fmt: skip
            assert [e["cat"] for e in inside] == ["dit"]


def test_an_arrow_begins_at_the_pass_of_its_own_item_though_a_newer_one_has_run() -> None:
    spans = (
        Span(0, "dit", 0.0, 0.1, item=0),
        Span(0, "dit", 0.1, 0.2, item=1),
        Span(1, "hop", 0.2, 0.3, item=0, peer=0),
        Span(1, "dit", 0.3, 0.4, item=0),
        Span(1, "hop", 0.4, 0.5, item=1, peer=0),
        Span(1, "dit", 0.5, 0.6, item=1),
    )
    records = replace(ring_records(ranks=2, chunks=2), spans=spans)
    events = timeline({"run": records})["traceEvents"]
    ends = [[e["ts"] for e in events if e["ph"] == phase] for phase in "sf"]
    assert ends == [pytest.approx([0.05e6, 0.15e6]), pytest.approx([0.35e6, 0.55e6])]


def test_the_life_of_every_emitted_chunk_is_there(
    runs: dict[str, Records], events: list[Event]
) -> None:
    for pid, records in enumerate(runs.values(), start=1):
        lives = [e for e in events if e["pid"] == pid and e["ph"] in "be"]
        assert len(lives) == 2 * len(records.chunks)


def test_names_survive_as_data() -> None:
    label = '</script><b>"'
    events = json.loads(json.dumps(timeline({label: ring_records()})))["traceEvents"]
    assert events[0]["args"]["name"] == label


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_short_run_shows_its_services_without_causes(chunks: int) -> None:
    records = ring_records(chunks=chunks)
    slices = _slices(timeline({"short": records})["traceEvents"])
    services = [e for e in slices if e["cat"] in SERVICES]
    assert len(services) == 4 * chunks
    assert not [e for e in slices if e["cat"] == "idle"]
