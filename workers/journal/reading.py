"""Reads the journal: what is in files, and what is still in the stream; each job once."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from workers.journal import rows, stream
from workers.journal.entry import JournalEntry
from workers.journal.files import dataset
from workers.journal.positions import Position
from workers.platform.redis.client import records_client

__all__ = ["JournalEntry", "count", "entries", "found_rows"]

_log = logging.getLogger(__name__)
_MICROSECONDS = 1_000_000
#: Before all positions.
BEGINNING = Position(-1, -1)
#: The columns of `outcomes`.
_OUTCOME = ("stream_id", "job_id", "model_name", "version", "many", "predictions", "finished_at")
#: The next row of an open file: its position, a number of its own, the row, the file, and the rows behind it.
_Next = tuple[Position, int, rows.Row, dataset.JournalFile, Iterator[rows.Row]]


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


def found_rows(
    endpoint_name: str, *, since: float, until: float | None = None, after: Position = BEGINNING
) -> Iterator[rows.Row]:
    """Yield the same jobs as `entries`, as rows; those behind a position. Raises as `entries`."""
    return _Reader(endpoint_name, since, until, at=after).read()


def outcomes(endpoint_name: str, *, since: float, until: float | None = None) -> Iterator[rows.Row]:
    """Yield the same jobs as `found_rows`, without what only `inputs` and times say; it reads no inputs from files."""
    return _Reader(endpoint_name, since, until, columns=_OUTCOME).read()


@dataclass
class _Reader:
    """Reads files and stream in the order of positions, while rows are moved and files are compacted.

    Rows are moved in that order. A page of the stream is taken together with the files that are there afterwards: an
    entry that is not in the page any more was moved before the page was read, and so is in the files.
    """

    endpoint_name: str
    since: float
    until: float | None
    columns: tuple[str, ...] | None = None
    #: The position up to which all rows were read.
    at: Position = BEGINNING
    #: The files that were read to their ends.
    done: set[dataset.JournalFile] = field(default_factory=set)

    def read(self) -> Iterator[rows.Row]:
        """Yield the rows."""
        client = records_client()
        # What ends from now on is left out: the reader comes to an end.
        last, after = stream.last(client), None if self.at == BEGINNING else self.at
        yield from self._files()
        while last and (page := stream.page(client, after, last)):
            yield from self._files()
            for entry in page:
                if entry.position > self.at:
                    yield from self._entry(entry)
                    self.at = entry.position
            after = page[-1].position
        yield from self._files()

    def _files(self) -> Iterator[rows.Row]:
        """Yield the rows of files that were not read yet. If a file is gone by now, another one has its rows."""
        is_complete = False
        while not is_complete:
            is_complete = yield from self._merged(deque(self._listed()))

    def _merged(self, waiting: deque[dataset.JournalFile]) -> Generator[rows.Row, None, bool]:
        """Yield the rows of files by position; only those that overlap are in memory. False if a file is gone."""
        heap, before, number = list[_Next](), self.at, 0
        while waiting or heap:
            # All files that have the next position are open when its first row is yielded.
            if waiting and (not heap or waiting[0].range.first <= heap[0][0]):
                file, number = waiting.popleft(), number + 1
                found = dataset.read(file, self.columns)
                if found is None:
                    return False
                self._push(heap, number, file, (row for row in rows.of_table(found) if _position(row) > before))
            else:
                self.at, _, row, file, source = heapq.heappop(heap)
                if self._is_wanted(row):
                    yield row
                number += 1
                self._push(heap, number, file, source)
        return True

    def _push(self, heap: list[_Next], number: int, file: dataset.JournalFile, source: Iterator[rows.Row]) -> None:
        """Put the next row of a file among those of the others."""
        row = next(source, None)
        if row is None:
            self.done.add(file)
        else:
            heapq.heappush(heap, (_position(row), number, row, file, source))

    def _listed(self) -> list[dataset.JournalFile]:
        """Return the files that may have more rows, by position, those that cover others before them."""
        first, last = _day(max(self.since, 0.0)), date.max if self.until is None else _day(self.until)
        found, _ = dataset.current(dataset.files(self.endpoint_name))
        wanted = (each for each in found if first <= each.day <= last and each.range.last > self.at)
        return sorted((each for each in wanted if each not in self.done), key=lambda each: each.range.first)

    def _entry(self, entry: stream.StreamEntry) -> Iterator[rows.Row]:
        if entry.endpoint_name != self.endpoint_name:
            return
        try:
            found = entry.rows()
        except ValueError as error:
            _log.warning("entry %s of the journal's stream can't be read: %s", entry.position, error)
            return
        yield from filter(self._is_wanted, found)

    def _is_wanted(self, row: rows.Row) -> bool:
        ended_at = row.finished_at / _MICROSECONDS
        return self.since <= ended_at and (self.until is None or ended_at < self.until)


def _position(row: rows.Row) -> Position:
    return Position.parse(row.stream_id)


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
