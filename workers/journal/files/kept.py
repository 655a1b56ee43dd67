"""How much of the journal is kept: jobs, bytes and times, from the ends of files, and the counts of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from workers import keys
from workers.jobs.endings.journal import ADDED_PREFIX, DROPPED_PREFIX, MOVED_PREFIX, UNREADABLE_PREFIX
from workers.journal import stream
from workers.journal.files import dataset
from workers.platform.redis.client import records_client

_TIME = "finished_at"


@dataclass(frozen=True, slots=True)
class Kept:
    """What the journal has of one endpoint."""

    #: In files.
    jobs: int
    files: int
    size_bytes: int
    #: When the first and the last job in files ended.
    first_at: datetime | None
    last_at: datetime | None
    #: In the stream.
    waiting_jobs: int
    #: Left out because the stream was full, since the counts began.
    dropped_jobs: int


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """The bytes and the age of the stream, and the numbers of jobs that were added and dropped, by endpoint."""

    size_bytes: int
    lag_s: float
    added: dict[str, int]
    dropped: dict[str, int]


class _Summary(NamedTuple):
    rows: int
    first_at: datetime
    last_at: datetime


def kept(endpoint_name: str) -> Kept:
    """Return what the journal has of an endpoint. Raises redis.RedisError, ArtifactStoreUnavailable."""
    files, _ = dataset.current(dataset.files(endpoint_name))
    summaries = [each for each in map(_summary, files) if each is not None and each.rows]
    fields = [prefix + endpoint_name for prefix in (ADDED_PREFIX, MOVED_PREFIX, UNREADABLE_PREFIX, DROPPED_PREFIX)]
    found: Any = records_client().hmget(keys.JOURNAL_COUNTS, fields)
    added, moved, unreadable, dropped = (int(each or 0) for each in found)
    return Kept(
        jobs=sum(each.rows for each in summaries),
        files=len(files),
        size_bytes=sum(each.size_bytes for each in files),
        first_at=min((each.first_at for each in summaries), default=None),
        last_at=max((each.last_at for each in summaries), default=None),
        waiting_jobs=max(0, added - moved - unreadable),
        dropped_jobs=dropped,
    )


def stream_figures() -> StreamFigures:
    """Return the figures of the stream. Raises redis.RedisError."""
    client = records_client()
    counts: Any = client.hgetall(keys.JOURNAL_COUNTS)
    by_name = {name.decode(errors="replace"): int(number) for name, number in counts.items()}

    def of(prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): number for name, number in by_name.items() if name.startswith(prefix)}

    return StreamFigures(stream.size_bytes(client), stream.lag_s(client), of(ADDED_PREFIX), of(DROPPED_PREFIX))


@lru_cache(maxsize=20_000)
def _summary(file: dataset.JournalFile) -> _Summary | None:
    """Return what the end of a file says; None if it is gone."""
    import pyarrow.parquet as pq

    with dataset.store().reading(file.name) as content:
        if content is None:
            return None
        metadata = pq.read_metadata(content)
    at = metadata.schema.names.index(_TIME)
    times = [metadata.row_group(each).column(at).statistics for each in range(metadata.num_row_groups)]
    return _Summary(metadata.num_rows, min(each.min for each in times), max(each.max for each in times))
