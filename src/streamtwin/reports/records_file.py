"""How do the records of one run become one file, and come back unchanged?

Spans, chunks and decisions share one flat table: `record` says which of them a row is, columns
of the other two are null. Units stand in the metadata of each column, who ran what in that of
the table. The same records give the same bytes.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamtwin.core.errors import UserError
from streamtwin.core.records import ChunkRecord, Decision, RankInfo, Records, RunInfo, Span

VERSION = "1"
_VERSION_KEY = b"streamtwin.records"
_INFO_KEY = b"streamtwin.info"

_Row = dict[str, Any]
_T = TypeVar("_T")

_SPAN = (
    "rank", "kind", "began_s", "ended_s", "session", "chunk", "item", "rows", "size_bytes", "peer",
)  # fmt: skip
_CHUNK = ("session", "chunk", "released_s", "taken_s", "emitted_s", "frames", "outcome")
_DECISION = ("time_s", "rank", "family", "policy", "session", "chunk")


def write_records(records: Records, path: Path) -> None:
    """Write *records* to the one file *path*."""
    schema = _schema({_VERSION_KEY: VERSION.encode(), _INFO_KEY: _info_to_json(records.info)})
    rows = [*_rows("span", records.spans, _SPAN), *_rows("chunk", records.chunks, _CHUNK)]
    rows += [_decision_row(decision) for decision in records.decisions]
    columns = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema]
    table = pa.Table.from_arrays(columns, schema=schema)
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def read_records(path: Path) -> Records:
    """Read what `write_records` wrote.

    Raises:
        UserError: *path* is missing, damaged, of another version, or not such a file.
    """
    table = _table(path)
    parts = {name: _part(table, name) for name in ("span", "chunk", "decision")}
    return Records(
        info=_info_from_json(table.schema.metadata[_INFO_KEY]),
        spans=_build(Span, parts["span"], _SPAN),
        chunks=_build(ChunkRecord, parts["chunk"], _CHUNK),
        decisions=tuple(_decision(row) for row in parts["decision"].to_pylist()),
    )


def _schema(metadata: Mapping[bytes, bytes]) -> pa.Schema:
    text, integer, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            _field("record", text, "", "span, chunk or decision", nullable=False),
            _field("session", integer, "1", "number of the stream"),
            _field("chunk", integer, "1", "camera's number of the chunk; -1: none"),
            _field("rank", integer, "1", "rank of the span or decision"),
            _field("kind", text, "", "service, wait or hop"),
            _field("began_s", real, "s", "begin of the span since the start of the stream"),
            _field("ended_s", real, "s", "end of the span since the start of the stream"),
            _field("item", integer, "1", "turn of the ring"),
            _field("rows", integer, "1", "rows of the batch"),
            _field("size_bytes", integer, "byte", "bytes moved"),
            _field("peer", integer, "1", "other rank of a wait or hop; -1: none"),
            _field("released_s", real, "s", "release by the camera"),
            _field("taken_s", real, "s", "taken in by rank 0"),
            _field("emitted_s", real, "s", "emission of the decoded frames"),
            _field("frames", integer, "1", "pixel frames emitted"),
            _field("outcome", text, "", "emitted, in_flight, dropped or lost"),
            _field("time_s", real, "s", "instant of the decision"),
            _field("family", text, "", "family of policies"),
            _field("policy", text, "", "policy that decided"),
            _field("saw", pa.map_(text, real), "", "what the policy saw, units in the names"),
            _field("chose_number", real, "", "the decision, where it is a number"),
            _field("chose_name", text, "", "the decision, where it is a name"),
        ],
        metadata=dict(metadata),
    )


def _field(
    name: str, kind: pa.DataType, unit: str, description: str, *, nullable: bool = True
) -> pa.Field:
    metadata = {"unit": unit, "description": description}
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


def _rows(record: str, values: Iterable[object], names: Sequence[str]) -> list[_Row]:
    return [{"record": record, **{n: getattr(value, n) for n in names}} for value in values]


def _decision_row(decision: Decision) -> _Row:
    (row,) = _rows("decision", [decision], _DECISION)
    chose = decision.chose
    row["saw"] = sorted(decision.saw.items())
    row["chose_name" if isinstance(chose, str) else "chose_number"] = chose
    return row


def _decision(row: _Row) -> Decision:
    chose = row["chose_number"] if row["chose_name"] is None else row["chose_name"]
    return Decision(**{name: row[name] for name in _DECISION}, saw=dict(row["saw"]), chose=chose)


def _table(path: Path) -> pa.Table:
    try:
        # memory, not the path: a name with a glob or a colon in it is still a name
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True)
        found = table.schema_arrow
        _check_version(path, found)
        return table.read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable records file: {error}") from error


def _check_version(path: Path, found: pa.Schema) -> None:
    metadata = found.metadata or {}
    if _VERSION_KEY not in metadata or _INFO_KEY not in metadata:
        raise UserError(f"{path}: a table, but not the records of a run")
    version = metadata[_VERSION_KEY].decode(errors="replace")
    if version != VERSION:
        raise UserError(f"{path}: records of version {version}; this program reads {VERSION}")
    if not found.equals(_schema({})):
        raise UserError(f"{path}: says version {VERSION} of the records but has other columns")


def _part(table: pa.Table, record: str) -> pa.Table:
    return table.filter(pc.equal(table["record"], record))


def _build(make: Callable[..., _T], part: pa.Table, names: Sequence[str]) -> tuple[_T, ...]:
    columns = [part[name].to_pylist() for name in names]
    return tuple(
        make(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)
    )


def _info_to_json(info: RunInfo) -> bytes:
    return json.dumps(asdict(info), sort_keys=True).encode()


def _info_from_json(text: bytes) -> RunInfo:
    data = json.loads(text)
    ranks = tuple(
        RankInfo(**{**rank, "blocks": (rank["blocks"][0], rank["blocks"][1])})
        for rank in data.pop("ranks")
    )
    return RunInfo(ranks=ranks, **data)
