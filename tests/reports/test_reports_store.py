"""Do the records and the folder of a run come back as they were written?"""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_synthetic import ring_records

from streamtwin.core.errors import StreamtwinError, UserError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import SPAN_KINDS, ChunkRecord, Decision, Records, Span
from streamtwin.reports import whole_file
from streamtwin.reports.store import read_records, read_run, write_records, write_run

INT = st.integers(-(2**62), 2**62)
REAL = st.floats(allow_nan=False)
SPANS = st.builds(Span, INT, st.sampled_from(SPAN_KINDS), REAL, REAL, INT, INT, INT, INT, INT, INT)
MAYBE = st.none() | REAL
CHUNKS = st.builds(
    ChunkRecord, INT, INT, REAL, MAYBE, MAYBE, INT,
    st.sampled_from(["emitted", "in_flight", "dropped", "lost"]),
)  # fmt: skip
NAMES = st.text(max_size=8)
SAW = st.dictionaries(NAMES, REAL, max_size=4)
DECISIONS = st.builds(Decision, REAL, INT, NAMES, NAMES, INT, INT, SAW, REAL | NAMES)


def _bits(value: float) -> str:
    return value.hex()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "records.parquet"


@settings(deadline=None, max_examples=60)  # the first call loads the library
@given(
    spans=st.lists(SPANS, max_size=6),
    chunks=st.lists(CHUNKS, max_size=4),
    decisions=st.lists(DECISIONS, max_size=4),
)
def test_any_records_come_back_unchanged(
    scratch: Path, spans: list[Span], chunks: list[ChunkRecord], decisions: list[Decision]
) -> None:
    info = ring_records(chunks=1).info
    records = Records(info, tuple(spans), tuple(chunks), tuple(decisions))
    write_records(records, scratch)
    back = read_records(scratch)
    assert back == records
    for old, new in zip(records.spans, back.spans, strict=True):
        # equality lets -0.0 pass for 0.0
        assert (_bits(old.began_s), _bits(old.ended_s)) == (_bits(new.began_s), _bits(new.ended_s))


def test_a_run_with_every_kind_of_row_comes_back(tmp_path: Path) -> None:
    records = ring_records(ranks=3, jitter=0.2, fps=16)
    absent = {"wait_sent", "move", "recovery", "transfer"}
    assert {span.kind for span in records.spans} == set(SPAN_KINDS) - absent
    write_records(records, tmp_path / "r")
    assert read_records(tmp_path / "r") == records


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = ring_records(jitter=0.1), ring_records(jitter=0.1)
    saw = {"a": 1.0, "b": 2.0}
    turned = dict(reversed(saw.items()))
    first = replace(first, decisions=(replace(first.decisions[0], saw=saw),))
    second = replace(second, decisions=(replace(second.decisions[0], saw=turned),))
    write_records(first, tmp_path / "first")
    write_records(second, tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_every_column_states_its_unit(tmp_path: Path) -> None:
    write_records(ring_records(), tmp_path / "r")
    schema = pq.read_schema(tmp_path / "r")
    assert all({b"unit", b"description"} <= set(field.metadata) for field in schema)
    assert {f.metadata[b"unit"] for f in schema if f.name.endswith("_s")} == {b"s"}


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    write_records(ring_records(), path)
    whole = path.read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"records\.parquet"):
            read_records(path)


def test_a_flipped_bit_in_the_data_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    write_records(ring_records(jitter=0.1), path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 0x10
    path.write_bytes(bytes(damaged))
    with pytest.raises(UserError, match="not a readable records file"):
        read_records(path)


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.parquet"):
        read_records(tmp_path / "missing.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="not the records of a run"):
        read_records(tmp_path / "other.parquet")


def _with_metadata(path: Path, changes: dict[bytes, bytes]) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | changes), path)


def test_another_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write_records(ring_records(), path)
    _with_metadata(path, {b"streamtwin.records": b"7"})
    with pytest.raises(UserError, match=r"version 7; this program reads 1"):
        read_records(path)


def test_our_version_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r"
    write_records(ring_records(), path)
    table = pq.read_table(path).drop_columns(["peer"])
    pq.write_table(table, path)
    with pytest.raises(UserError, match="other columns"):
        read_records(path)


def test_a_run_folder_comes_back(tmp_path: Path) -> None:
    records = ring_records(jitter=0.1)
    metrics = compute_metrics(records)
    write_run(tmp_path / "a" / "run", records, metrics, "name: ring\n")
    run = read_run(tmp_path / "a" / "run")
    assert (run.records, run.metrics, run.scenario_yaml) == (records, metrics, "name: ring\n")
    assert {path.name for path in (tmp_path / "a" / "run").iterdir()} == {
        "scenario.yaml", "records.parquet", "metrics.json", "timeline.json",
    }  # fmt: skip


def test_a_page_is_kept_with_its_run_and_goes_with_it(tmp_path: Path) -> None:
    records = ring_records()
    write_run(tmp_path, records, compute_metrics(records), "", "<html>é")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "<html>é"
    write_run(tmp_path, records, compute_metrics(records), "")
    assert not (tmp_path / "report.html").exists()


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"video")
    records = ring_records()
    for _ in range(2):
        write_run(tmp_path, records, compute_metrics(records), "")
    assert (tmp_path / "out.mp4").read_bytes() == b"video"
    assert {path.name for path in tmp_path.iterdir()} == {
        "out.mp4", "scenario.yaml", "records.parquet", "metrics.json", "timeline.json",
    }  # fmt: skip


def _interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Stop the program when the file number *at* would be moved into place."""
    moved: list[str] = []
    move = os.replace

    def stop(draft: Path, path: Path) -> None:
        if len(moved) == at:
            raise KeyboardInterrupt
        moved.append(path.name)
        move(draft, path)

    monkeypatch.setattr(whole_file.os, "replace", stop)
    return moved


@pytest.mark.parametrize("at", range(5))
def test_an_interrupted_run_is_never_half_old_and_half_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    old, new = ring_records(name="old"), ring_records("measured", name="new")
    write_run(tmp_path, old, compute_metrics(old), "name: old\n", "old")
    moved = _interrupt(monkeypatch, at)
    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path, new, compute_metrics(new), "name: new\n", "new")
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == set(moved)
    with pytest.raises(UserError, match=r"no metrics\.json: .* not finished"):
        read_run(tmp_path)
    write_run(tmp_path, new, compute_metrics(new), "name: new\n", "new")
    assert read_run(tmp_path).scenario_yaml == "name: new\n"


def test_metrics_are_the_first_to_go_and_the_last_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = ring_records()
    write_run(tmp_path, records, compute_metrics(records), "")
    gone: list[str] = []
    unlink = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda p, missing_ok=False: (gone.append(p.name), unlink(p, missing_ok))
    )
    moved = _interrupt(monkeypatch, 9)
    write_run(tmp_path, records, compute_metrics(records), "")
    assert gone[0] == "metrics.json"
    assert set(gone[:5]) == {*moved, "report.html"}
    assert moved[-1] == "metrics.json"


def test_metrics_stay_valid_json_where_a_number_is_missing(tmp_path: Path) -> None:
    records = ring_records()
    metrics = compute_metrics(records) | {"fps": math.nan, "period_s": math.inf}
    write_run(tmp_path, records, metrics, "")
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["fps"] is None


@pytest.mark.parametrize("lost", ["scenario.yaml", "records.parquet", "metrics.json"])
def test_a_folder_that_lost_a_file_is_refused_by_its_name(tmp_path: Path, lost: str) -> None:
    records = ring_records()
    write_run(tmp_path, records, compute_metrics(records), "")
    (tmp_path / lost).unlink()
    with pytest.raises(StreamtwinError, match=lost):
        read_run(tmp_path)


def test_no_folder_and_foreign_metrics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        read_run(tmp_path / "nowhere")
    records = ring_records()
    write_run(tmp_path, records, compute_metrics(records), "")
    for text, reason in (("[1]", "not the metrics"), ("{", "not valid JSON")):
        (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=reason):
            read_run(tmp_path)
