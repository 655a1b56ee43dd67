"""Feedback on jobs: as lines of an entry of the stream, and as rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

#: The field of an entry of the stream that has feedback in place of jobs.
FIELD = b"feedback"
MICROSECONDS = 1_000_000


class Feedback(msgspec.Struct):
    """What is right for a job, as a client says it."""

    job_id: str
    #: As JSON.
    truth: Raw
    weight: float = 1.0
    #: The name of the API key of the job's owner.
    owner: str | None = None
    #: Seconds since the epoch.
    received_at: float = 0.0


class FeedbackRow(NamedTuple):
    """The columns of a file; the time in µs since the epoch."""

    stream_id: str
    job_id: str
    truth: str
    weight: float
    owner: str | None
    received_at: int

    @property
    def day(self) -> date:
        """The UTC day on which it was received."""
        return datetime.fromtimestamp(self.received_at / MICROSECONDS, UTC).date()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Feedback).decode


def lines(some: Iterable[Feedback]) -> bytes:
    """Return feedback as an entry of the stream has it."""
    return b"\n".join(map(_encode, some))


def of_stream(stream_id: str, content: bytes) -> list[FeedbackRow]:
    """Return the feedback of one entry of the stream. Raises ValueError if it can't be read."""
    return [_row(stream_id, _decode(line)) for line in content.split(b"\n") if line]


def _row(stream_id: str, feedback: Feedback) -> FeedbackRow:
    truth = bytes(feedback.truth).decode(errors="replace")
    received_at = int(feedback.received_at * MICROSECONDS)
    return FeedbackRow(stream_id, feedback.job_id, truth, feedback.weight, feedback.owner, received_at)


def table(rows: Sequence[FeedbackRow]) -> Any:
    """Return rows as a table."""
    import pyarrow as pa

    types = {"weight": pa.float64(), "received_at": pa.timestamp("us", tz="UTC")}
    columns = pa.schema([pa.field(name, types.get(name, pa.string())) for name in FeedbackRow._fields])
    return pa.Table.from_pylist([row._asdict() for row in rows], schema=columns)


def of_table(found: Any) -> Iterator[FeedbackRow]:
    """Yield the rows of a table."""
    import pyarrow as pa

    names = FeedbackRow._fields
    for batch in found.to_batches(max_chunksize=1_000):
        columns = (batch.column(name) for name in names)
        values = [(each.cast(pa.int64()) if pa.types.is_timestamp(each.type) else each).to_pylist() for each in columns]
        yield from map(FeedbackRow._make, zip(*values, strict=True))
