"""Rows of the journal: from entries of the stream, to `JournalEntry`, and as columns of Parquet files.

pyarrow is imported where a table is made or read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from workers.jobs.endings.journal import AnsweredBy, Beside
from workers.journal.entry import JournalEntry
from workers.platform import fast_json

_SUCCESS = "SUCCESS"
_MICROSECONDS = 1_000_000


class Row(NamedTuple):
    """One job, as the columns of a file; times in µs since the epoch, inputs and predictions as JSON."""

    stream_id: str
    job_id: str
    model_name: str
    version: str
    status: str
    inputs: str
    many: bool
    predictions: str | None
    error_code: str | None
    error_message: str | None
    submitted_at: int | None
    started_at: int | None
    finished_at: int
    queued_ms: float | None
    predict_ms: float | None
    total_ms: float | None
    batch_size: int | None
    attempts: int
    worker: str | None
    owner: str | None
    priority: str
    trace_id: str | None
    sticky_key: str | None

    @property
    def day(self) -> date:
        """The UTC day of its end."""
        return datetime.fromtimestamp(self.finished_at / _MICROSECONDS, UTC).date()


#: Columns in the types of Parquet; all others are texts.
_TYPES = {
    "many": "bool",
    "submitted_at": "time",
    "started_at": "time",
    "finished_at": "time",
    "queued_ms": "double",
    "predict_ms": "double",
    "total_ms": "double",
    "batch_size": "int32",
    "attempts": "int32",
}
_TIMES = tuple(name for name, kind in _TYPES.items() if kind == "time")
_REQUIRED = ("stream_id", "job_id", "model_name", "version", "status", "inputs", "many", "finished_at", "attempts")


class _Timing(msgspec.Struct):
    queued_ms: float | None = None
    predict_ms: float | None = None
    total_ms: float | None = None


class _Outcome(msgspec.Struct):
    prediction: Raw | UnsetType = UNSET
    predictions: Raw | UnsetType = UNSET
    model_name: str | None = None
    version: str | None = None
    worker: str | None = None
    batch_size: int | None = None
    timing: _Timing = msgspec.field(default_factory=_Timing)


class _Record(msgspec.Struct):
    status: str
    task_id: str
    finished_at: float
    result: Raw = Raw(b"null")
    submitted_at: float | None = None
    started_at: float | None = None
    attempts: int = 0
    error: dict[str, str] | None = None
    owner: str | None = None
    priority: str = "normal"


_record = msgspec.json.Decoder(_Record).decode
_outcome = msgspec.json.Decoder(_Outcome).decode
_beside = msgspec.json.Decoder(Beside).decode
_answered_by = msgspec.json.Decoder(AnsweredBy).decode


def of_stream(stream_id: str, fields: Mapping[bytes, bytes]) -> list[Row]:
    """Return the jobs of one entry of the stream. Raises ValueError if it can't be read."""
    shared = _answered_by(fields[b"answered_by"])
    lines = fields[b"jobs"].split(b"\n")
    if len(lines) % 3:
        raise ValueError(f"{len(lines)} lines, which are not three for each job")
    return [_row(stream_id, shared, *lines[at : at + 3]) for at in range(0, len(lines), 3)]


def _row(stream_id: str, shared: AnsweredBy, record: bytes, beside: bytes, inputs: bytes) -> Row:
    job, more = _decoded(_record, record), _decoded(_beside, beside)
    has_succeeded = job.status == _SUCCESS
    outcome = _decoded(_outcome, bytes(job.result)) if has_succeeded else _Outcome()
    error = job.error or {}
    timing = outcome.timing
    return Row(
        stream_id,
        job.task_id,
        outcome.model_name or shared.model_name,
        outcome.version or shared.version,
        "succeeded" if has_succeeded else "failed",
        inputs.decode(errors="replace"),
        more.many,
        _predictions(outcome) if has_succeeded else None,
        error.get("code"),
        None if more.hides_error else error.get("message"),
        _microseconds(job.submitted_at),
        _microseconds(job.started_at),
        int(job.finished_at * _MICROSECONDS),
        timing.queued_ms if has_succeeded else more.queued_ms,
        timing.predict_ms,
        timing.total_ms if has_succeeded else more.total_ms,
        outcome.batch_size,
        job.attempts,
        outcome.worker or shared.worker,
        job.owner,
        job.priority,
        more.trace_id,
        more.sticky_key,
    )


def _decoded(decode: Any, text: bytes) -> Any:
    try:
        return decode(text)
    except msgspec.DecodeError:
        # Half a surrogate pair, which Parquet can't store either.
        return decode(json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace"))


def _predictions(outcome: _Outcome) -> str:
    many = outcome.predictions
    if isinstance(many, Raw):
        return bytes(many).decode(errors="replace")
    one = outcome.prediction
    return f"[{bytes(one).decode(errors='replace')}]" if isinstance(one, Raw) else "[]"


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * _MICROSECONDS)


def entry(endpoint_name: str, row: Row) -> JournalEntry:
    """Return a row as an entry of the journal."""
    values = row._asdict()
    del values["stream_id"]
    values["inputs"] = fast_json.loads(row.inputs)
    values["predictions"] = None if row.predictions is None else fast_json.loads(row.predictions)
    for name in _TIMES:
        values[name] = None if values[name] is None else values[name] / _MICROSECONDS
    return JournalEntry(endpoint_name=endpoint_name, **values)


def schema() -> Any:
    """Return the schema of the files."""
    import pyarrow as pa

    types = {
        "bool": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "double": pa.float64(),
        "int32": pa.int32(),
        "text": pa.string(),
    }
    return pa.schema(
        [pa.field(name, types[_TYPES.get(name, "text")], nullable=name not in _REQUIRED) for name in Row._fields]
    )


def table(rows: Sequence[Row]) -> Any:
    """Return rows as a table."""
    import pyarrow as pa

    columns = schema()
    values: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return pa.Table.from_arrays(
        [pa.array(each, type=field.type) for each, field in zip(values, columns, strict=True)], schema=columns
    )


def of_table(found: Any) -> Iterator[Row]:
    """Yield the rows of a table, which a newer release may have written with more columns."""
    columns = schema()
    missing = [name for name in Row._fields if name not in found.column_names]
    for batch in found.to_batches(max_chunksize=1_000):
        values = [
            [None] * batch.num_rows if field.name in missing else _values(batch.column(field.name)) for field in columns
        ]
        yield from map(Row._make, zip(*values, strict=True))


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    is_time = pa.types.is_timestamp(column.type)
    found: list[Any] = (column.cast(pa.int64()) if is_time else column).to_pylist()
    return found


def line(endpoint_name: str, row: Row) -> bytes:
    """Return a row as one line of NDJSON: as `JournalEntry`, with times in ISO 8601."""
    values: dict[str, Any] = {"endpoint_name": endpoint_name, **row._asdict()}
    del values["stream_id"]
    values["inputs"] = Raw(row.inputs.encode())
    values["predictions"] = None if row.predictions is None else Raw(row.predictions.encode())
    for name in _TIMES:
        values[name] = None if values[name] is None else _iso(values[name])
    return msgspec.json.encode(values) + b"\n"


def _iso(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / _MICROSECONDS, UTC).isoformat(timespec="microseconds")


def exported_table(endpoint_name: str, rows: Sequence[Row]) -> Any:
    """Return rows as a table for other programs, with the endpoint, which the path of a file says otherwise."""
    import pyarrow as pa

    found = table(rows).drop_columns(["stream_id"])
    return found.add_column(
        0, pa.field("endpoint_name", pa.string()), pa.array([endpoint_name] * len(rows), pa.string())
    )
