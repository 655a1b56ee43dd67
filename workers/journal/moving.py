"""Moves jobs from the stream to files: no row twice, none lost, wherever the process ends.

A range of entries is claimed in Redis, then written to files that are named by it, and then taken out of the stream. If
the process ends in between, the next one finds the claim and writes the same files again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import redis

from workers import keys
from workers.errors import JournalBusy
from workers.jobs.endings.journal import MOVED_PREFIX, UNREADABLE_PREFIX
from workers.journal import stream
from workers.journal.feedback_rows import FeedbackRow
from workers.journal.files import dataset
from workers.journal.files.writer import Writer
from workers.journal.positions import Position, PositionRange
from workers.journal.rows import Row
from workers.journal.stream import StreamEntry
from workers.platform.lua import Lua, script

_log = logging.getLogger(__name__)

#: What is moved at once, and so is in memory.
_MOVED_BYTES = 16 * 1024 * 1024
_MOVED_ENTRIES = 5_000
#: Entries are moved earlier than after the interval if they have so many bytes.
_DUE_BYTES = 4 * 1024 * 1024

_BEGIN = Lua("workers.journal", "begin_move")
_END = Lua("workers.journal", "end_move")


def is_due(client: redis.Redis, interval_s: float) -> bool:
    """Whether there is a move to finish, or entries that are old or many enough. Raises redis.RedisError."""
    if client.exists(keys.JOURNAL_MOVING):
        return True
    return stream.lag_s(client) >= interval_s or stream.size_bytes(client) >= _DUE_BYTES


def move_all(writer: Writer) -> int:
    """Move all entries that are in the stream now; return how many jobs and feedbacks. Raises as `move`."""
    count, last = 0, stream.last(writer.client)
    while last is not None and (first := stream.first(writer.client)) is not None and first <= last:
        count += move(writer)
    return count


def move(writer: Writer) -> int:
    """Move the next entries, or those whose move has not ended; return how many jobs and feedbacks.

    Raises:
        JournalBusy: another process moves them.
        ArtifactStoreUnavailable, ArtifactStoreFull: the files can't be written; the entries stay in the stream.
        redis.RedisError: Redis can't be reached.
    """
    client = writer.client
    covered = _claimed(client) or _next_range(client)
    if covered is None:
        return 0
    claimed: bytes = script(client, _BEGIN)([], [writer.token, str(covered)])
    if not claimed:
        raise JournalBusy("Another process moves the journal's stream.")
    covered = PositionRange.parse(claimed.decode())
    entries = _entries(client, covered)
    rows, counts = _rows(entries)
    for endpoint_name, some in rows.items():
        writer.check()
        dataset.write_rows(endpoint_name, covered, some)
    feedback = _feedback(entries)
    for endpoint_name, given in feedback.items():
        writer.check()
        dataset.write_feedback(endpoint_name, covered, given)
    size_bytes = sum(entry.size_bytes for entry in entries)
    values: list[str | int] = [writer.token, str(covered), size_bytes, len(counts)]
    values += chain.from_iterable(counts.items())
    if not script(client, _END)([], [*values, *(str(entry.position) for entry in entries)]):
        raise JournalBusy("Another process moves the journal's stream.")
    return sum(map(len, rows.values())) + sum(map(len, feedback.values()))


def _claimed(client: redis.Redis) -> PositionRange | None:
    found = client.get(keys.JOURNAL_MOVING)
    return PositionRange.parse(found.decode()) if isinstance(found, bytes) else None


def _next_range(client: redis.Redis) -> PositionRange | None:
    """Return as many entries as may be moved at once, from the first of the stream; None if it is empty."""
    first: Position | None = None
    after: Position | None = None
    size_bytes = count = 0
    while size_bytes < _MOVED_BYTES and count < _MOVED_ENTRIES and (page := stream.page(client, after)):
        first, after = first or page[0].position, page[-1].position
        size_bytes += sum(entry.size_bytes for entry in page)
        count += len(page)
    return None if first is None or after is None else PositionRange(first, after)


def _entries(client: redis.Redis, covered: PositionRange) -> list[StreamEntry]:
    entries, after = list[StreamEntry](), covered.first.before
    while page := stream.page(client, after, covered.last):
        entries += page
        after = page[-1].position
    return entries


def _feedback(entries: Sequence[StreamEntry]) -> dict[str, list[FeedbackRow]]:
    """Return the feedback by endpoint; what can't be read is left out."""
    found = dict[str, list[FeedbackRow]]()
    for entry in entries:
        try:
            some = entry.feedback()
        except ValueError as error:
            _log.error("feedback %s of the journal's stream is left out: it can't be read (%s)", entry.position, error)
            continue
        found.setdefault(entry.endpoint_name, []).extend(some)
    return {endpoint_name: some for endpoint_name, some in found.items() if some}


def _rows(entries: Sequence[StreamEntry]) -> tuple[dict[str, list[Row]], Counter[str]]:
    """Return the rows by endpoint, and what to count; an entry that can't be read is counted and left out."""
    rows, counts = dict[str, list[Row]](), Counter[str]()
    for entry in entries:
        try:
            some = entry.rows()
        except ValueError as error:
            _log.error("entry %s of the journal's stream is left out: it can't be read (%s)", entry.position, error)
            counts[UNREADABLE_PREFIX + entry.endpoint_name] += entry.job_count
            continue
        if some:
            rows.setdefault(entry.endpoint_name, []).extend(some)
            counts[MOVED_PREFIX + entry.endpoint_name] += len(some)
    return rows, counts
