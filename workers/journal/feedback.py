"""Takes feedback on jobs of the journal, and reads it again: of several on one job, the latest counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from workers import keys
from workers.errors import JournalFull
from workers.jobs import query, transitions
from workers.jobs.endings.journal import FEEDBACK_PREFIX, is_kept
from workers.jobs.query import JobState
from workers.journal import feedback_rows, stream
from workers.journal.feedback_rows import MICROSECONDS, Feedback, FeedbackRow
from workers.journal.files import dataset
from workers.journal.positions import Position
from workers.journal.searching import KeptJob
from workers.platform import fast_json
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client
from workers.settings import load

_log = logging.getLogger(__name__)

_ADD = Lua("workers.journal", "add_feedback")
#: The script takes few thousand arguments, and an entry is in memory as a whole.
_ENTRY_FEEDBACK = 500


class Truth(NamedTuple):
    """What is right for a job, and how much it counts."""

    value: Any
    weight: float

    def of_rows(self, rows: int, *, many: bool) -> list[Any] | None:
        """Return one truth for each row of its job; None if there are not as many.

        Of a job with one row that came as `inputs`, the truth may also stand alone.
        """
        if not many or (rows == 1 and not isinstance(self.value, list)):
            return [self.value]
        return self.value if isinstance(self.value, list) and len(self.value) == rows else None


class Sought(NamedTuple):
    """What the records of jobs say."""

    found: dict[str, KeptJob]
    #: Those that have to be searched for in the journal.
    left: list[str]


#: Returns the shares of an endpoint's jobs that its settings have let the journal keep around a time (s since the
#: epoch): more than one if they were changed then; None if that is not known.
Shares = Callable[[str, float], Collection[float] | None]


def sought(job_ids: Sequence[str], shares: Shares, owner: str | None = None) -> Sought:
    """Find jobs, of any owner or of one, by their records: those that the settings at their ends let the journal keep.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    found, left = dict[str, KeptJob](), list[str]()
    for job_id, record in zip(job_ids, transitions.read(job_ids), strict=True):
        view = query.parse_if_readable(job_id, record)
        if view is not None and owner in (None, view.owner) and _is_chosen(view, shares):
            found[job_id] = KeptJob(view.endpoint_name, view.owner)
        else:
            left.append(job_id)
    return Sought(found, left)


def _is_chosen(view: query.JobView, shares: Shares) -> bool:
    """Whether the journal has chosen a job for certain, when it ended."""
    if view.finished_at is None or view.state not in (JobState.SUCCEEDED, JobState.FAILED):
        return False
    possible = shares(view.endpoint_name, view.finished_at)
    return bool(possible) and all(is_kept(share, view.job_id) for share in possible or ())


def give(feedback: Mapping[str, Sequence[Feedback]]) -> None:
    """Store feedback by endpoint: all of it, or none.

    Raises:
        JournalFull: the stream has no room until the background process has moved it.
        redis.RedisError: Redis can't be reached.
    """
    values: list[bytes | str | int] = [load().journal_stream_bytes]
    for endpoint_name, some in feedback.items():
        for at in range(0, len(some), _ENTRY_FEEDBACK):
            values += [endpoint_name, feedback_rows.lines(some[at : at + _ENTRY_FEEDBACK])]
    if len(values) > 1 and not script(records_client(), _ADD)([], values):
        raise JournalFull("The stream of the journal is full until the background process has moved it to files.")


def counts(endpoint_names: Sequence[str]) -> dict[str, int]:
    """Return a number for each endpoint that grows when feedback comes. Raises redis.RedisError."""
    if not endpoint_names:
        return {}
    found: Any = records_client().hmget(keys.JOURNAL_COUNTS, [FEEDBACK_PREFIX + name for name in endpoint_names])
    return {name: int(number or 0) for name, number in zip(endpoint_names, found, strict=True)}


def truths(endpoint_name: str, since: float) -> dict[str, Truth]:
    """Return what is right for jobs of an endpoint that ended since then (s since the epoch), by their ids.

    Raises:
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached.
    """
    latest = dict[str, tuple[Position, FeedbackRow]]()
    # The stream first: what is moved meanwhile is in the files then.
    for row in (*_in_stream(endpoint_name), *_in_files(endpoint_name, since)):
        position = Position.parse(row.stream_id)
        if row.job_id not in latest or latest[row.job_id][0] <= position:
            latest[row.job_id] = position, row
    return {job_id: Truth(fast_json.loads(row.truth), row.weight) for job_id, (_, row) in latest.items()}


def given_since(endpoint_name: str, since: float) -> frozenset[str]:
    """Return the jobs of an endpoint that got feedback since then (s since the epoch). Raises as `truths`."""
    rows = (*_in_stream(endpoint_name), *_in_files(endpoint_name, since))
    return frozenset(row.job_id for row in rows if row.received_at >= since * MICROSECONDS)


def _in_stream(endpoint_name: str) -> Iterator[FeedbackRow]:
    client, after = records_client(), None
    while page := stream.page(client, after):
        after = page[-1].position
        for entry in page:
            if entry.is_feedback and entry.endpoint_name == endpoint_name:
                try:
                    yield from entry.feedback()
                except ValueError as error:
                    _log.warning("feedback %s of the journal's stream can't be read: %s", entry.position, error)


def _in_files(endpoint_name: str, since: float) -> Iterator[FeedbackRow]:
    first_day = datetime.fromtimestamp(max(since, 0.0), UTC).date()
    is_gone = True
    while is_gone:
        # If a file is gone, another one has its rows.
        is_gone, files = False, dataset.current(dataset.files(endpoint_name, dataset.FEEDBACK))[0]
        for file in files:
            # Feedback comes after the job's end.
            if file.day >= first_day:
                table = dataset.read(file)
                if table is None:
                    is_gone = True
                    break
                yield from feedback_rows.of_table(table)
