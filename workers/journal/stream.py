"""The stream of ended jobs, which have not been moved to files yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from workers import keys
from workers.jobs.endings.journal import BYTES_BESIDE_ENTRY, STREAM_BYTES
from workers.journal import feedback_rows, rows
from workers.journal.positions import Position

_PAGE_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """The jobs of one endpoint that ended in one step."""

    position: Position
    fields: Mapping[bytes, bytes]

    @property
    def endpoint_name(self) -> str:
        """Their endpoint."""
        return self.fields.get(b"endpoint_name", b"").decode(errors="replace")

    @property
    def size_bytes(self) -> int:
        """Its bytes, as the script that added it counted them."""
        return BYTES_BESIDE_ENTRY + sum(map(len, self.fields.values()))

    @property
    def job_count(self) -> int:
        """How many jobs it has, without reading them."""
        return (self.fields.get(b"jobs", b"").count(b"\n") + 1) // 3

    @property
    def is_feedback(self) -> bool:
        """Whether it has feedback, and no jobs."""
        return feedback_rows.FIELD in self.fields

    def feedback(self) -> list[feedback_rows.FeedbackRow]:
        """Return the feedback. Raises ValueError if the entry can't be read."""
        return feedback_rows.of_stream(str(self.position), self.fields.get(feedback_rows.FIELD, b""))

    def rows(self) -> list[rows.Row]:
        """Return the jobs. Raises ValueError if the entry can't be read."""
        if self.is_feedback:
            return []
        try:
            return rows.of_stream(str(self.position), self.fields)
        except (KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def page(
    client: redis.Redis, after: Position | None = None, last: Position | None = None, count: int = _PAGE_ENTRIES
) -> Sequence[StreamEntry]:
    """Return the next entries after a position, up to another. Raises redis.RedisError."""
    first = "-" if after is None else f"({after}"
    found: Any = client.xrange(keys.JOURNAL, first, "+" if last is None else str(last), count)
    return [StreamEntry(Position.parse(stream_id.decode()), fields) for stream_id, fields in found if fields]


def last(client: redis.Redis) -> Position | None:
    """Return the position of the newest entry; None if there is none. Raises redis.RedisError."""
    found: Any = client.xrevrange(keys.JOURNAL, count=1)
    return Position.parse(found[0][0].decode()) if found else None


def first(client: redis.Redis) -> Position | None:
    """Return the position of the oldest entry; None if there is none. Raises redis.RedisError."""
    found: Any = client.xrange(keys.JOURNAL, count=1)
    return Position.parse(found[0][0].decode()) if found else None


def size_bytes(client: redis.Redis) -> int:
    """Return the bytes of all entries, as they are counted. Raises redis.RedisError."""
    found: Any = client.hget(keys.JOURNAL_COUNTS, STREAM_BYTES)
    return max(0, int(found or 0))


def lag_s(client: redis.Redis) -> float:
    """Return how long the oldest entry has been there; 0 if there is none. Raises redis.RedisError."""
    oldest = first(client)
    if oldest is None:
        return 0.0
    seconds, microseconds = client.time()  # type: ignore[misc, unused-ignore]
    return max(0.0, seconds + microseconds / 1e6 - oldest.ms / 1000)
