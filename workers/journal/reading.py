"""Reads the journal: what is in files, and what is still in the stream; each job once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from workers.journal import dataset, rows, stream
from workers.journal.entry import JournalEntry
from workers.journal.positions import Position
from workers.platform.redis.client import records_client

__all__ = ["JournalEntry", "count", "entries", "found_rows"]

_log = logging.getLogger(__name__)
_MICROSECONDS = 1_000_000
_BEGINNING = Position(-1, -1)


def entries(endpoint_name: str, *, since: float, until: float | None = None) -> Iterator[JournalEntry]:
    """Yield the jobs of an endpoint that ended from `since` until before `until` (s since the epoch), oldest first.

    The order is that in which their ends were recorded. One file or one page of the stream is in memory at a time.

    Raises:
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached.
    """
    for row in found_rows(endpoint_name, since=since, until=until):
        yield rows.entry(endpoint_name, row)


def count(endpoint_name: str, *, since: float, until: float | None = None) -> int:
    """Return how many jobs `entries` yields; it reads no inputs from files. Raises as `entries`."""
    return sum(1 for _ in _Reader(endpoint_name, since, until, columns=("stream_id", "finished_at")).read())


def found_rows(endpoint_name: str, *, since: float, until: float | None = None) -> Iterator[rows.Row]:
    """Yield the same jobs as `entries`, as rows. Raises as `entries`."""
    return _Reader(endpoint_name, since, until).read()


@dataclass
class _Reader:
    """Reads files and stream while rows are moved from one to the other, and while files are compacted.

    Rows are moved in the order of their positions. A page of the stream is taken together with the files that are there
    afterwards: an entry that is not in the page any more was moved before the page was read, and so is in the files.
    """

    endpoint_name: str
    since: float
    until: float | None
    columns: tuple[str, ...] | None = None
    #: The position up to which the rows of each day were read.
    of_days: dict[date, Position] = field(default_factory=dict)
    #: The position up to which the rows of all days were read.
    of_all: Position = _BEGINNING

    def read(self) -> Iterator[rows.Row]:
        """Yield the rows."""
        client = records_client()
        # What ends from now on is left out: the reader comes to an end.
        last, after = stream.last(client), None
        yield from self._files()
        while last and (page := stream.page(client, after, last)):
            yield from self._files()
            for entry in page:
                yield from self._entry(entry)
                self.of_all = max(self.of_all, entry.position)
            after = page[-1].position
        yield from self._files()

    def _files(self) -> Iterator[rows.Row]:
        """Yield the rows of files that were not read yet. If a file is gone by now, another one has its rows."""
        is_gone = True
        while is_gone:
            is_gone = False
            for file in self._listed():
                before = self._read_until(file.day)
                if file.range.last <= before:
                    continue
                found = dataset.read(file, self.columns)
                if found is None:
                    is_gone = True
                    break
                yield from (row for row in rows.of_table(found) if self._is_wanted(row, before))
                self.of_days[file.day] = file.range.last

    def _listed(self) -> Iterator[dataset.JournalFile]:
        first, last = _day(max(self.since, 0.0)), date.max if self.until is None else _day(self.until)
        return (each for each in dataset.files(self.endpoint_name) if first <= each.day <= last)

    def _entry(self, entry: stream.StreamEntry) -> Iterator[rows.Row]:
        if entry.endpoint_name != self.endpoint_name:
            return
        try:
            found = entry.rows()
        except ValueError as error:
            _log.warning("entry %s of the journal's stream can't be read: %s", entry.position, error)
            return
        yield from (row for row in found if self._is_wanted(row, self._read_until(row.day)))

    def _read_until(self, day: date) -> Position:
        return max(self.of_days.get(day, _BEGINNING), self.of_all)

    def _is_wanted(self, row: rows.Row, after: Position) -> bool:
        ended_at = row.finished_at / _MICROSECONDS
        is_new = Position.parse(row.stream_id) > after
        return is_new and self.since <= ended_at and (self.until is None or ended_at < self.until)


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
