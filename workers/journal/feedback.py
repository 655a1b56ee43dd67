"""Takes feedback on jobs of the journal, and reads it again: of several on one job, the latest counts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

from registry.deployments import DesiredDeployment
from workers import keys
from workers.errors import JournalFull
from workers.jobs import query, transitions
from workers.jobs.endings.journal import FEEDBACK_PREFIX, is_kept
from workers.jobs.query import JobState
from workers.journal import feedback_rows, stream
from workers.journal.feedback_rows import Feedback, FeedbackRow
from workers.journal.files import dataset
from workers.journal.positions import Position
from workers.platform import fast_json
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client
from workers.settings import load

_log = logging.getLogger(__name__)

_ADD = Lua("workers.journal", "add_feedback")
#: The script takes few thousand arguments, and an entry is in memory as a whole.
_ENTRY_FEEDBACK = 500


class KeptJob(NamedTuple):
    """A job that the journal has."""

    endpoint_name: str
    owner: str | None


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


def find(job_ids: Sequence[str], deployments: Mapping[str, DesiredDeployment]) -> dict[str, KeptJob]:
    """Return those of these jobs that the journal has; `deployments` are all that there are.

    A job whose record is still there is one if the journal chooses it. Others are looked for in the stream and in all
    files, the newest first.

    Raises:
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached.
    """
    found, left = dict[str, KeptJob](), set[str]()
    for job_id, record in zip(job_ids, transitions.read(job_ids), strict=True):
        view = query.parse_if_readable(job_id, record)
        if view is None or not _is_chosen(view, deployments):
            left.add(job_id)
        else:
            found[job_id] = KeptJob(view.endpoint_name, view.owner)
    if left:
        for job_id, kept in _search(left):
            found[job_id] = kept
    return found


def _is_chosen(view: query.JobView, deployments: Mapping[str, DesiredDeployment]) -> bool:
    deployment = deployments.get(view.endpoint_name)
    if deployment is None or view.state not in (JobState.SUCCEEDED, JobState.FAILED):
        return False
    return is_kept(deployment.settings.journal, view.job_id)


def _search(left: set[str]) -> Iterator[tuple[str, KeptJob]]:
    """Yield the jobs that are found, and take them out of `left`; read no further than to the last of them."""
    for endpoint_name, job_id, owner in chain(_ids_in_stream(), _ids_in_files()):
        if job_id in left:
            left.discard(job_id)
            yield job_id, KeptJob(endpoint_name, owner)
            if not left:
                return


def _ids_in_stream() -> Iterator[tuple[str, str, str | None]]:
    client, after = records_client(), None
    while page := stream.page(client, after):
        after = page[-1].position
        for entry in page:
            with suppress(ValueError):  # the mover logs what can't be read
                yield from ((entry.endpoint_name, row.job_id, row.owner) for row in entry.rows())


def _ids_in_files() -> Iterator[tuple[str, str, str | None]]:
    files, _ = dataset.current(dataset.files())
    for file in sorted(files, key=lambda each: each.day, reverse=True):
        table = dataset.read(file, ("job_id", "owner"))
        if table is not None:
            columns = (table.column(name).to_pylist() for name in ("job_id", "owner"))
            yield from ((file.endpoint_name, *row) for row in zip(*columns, strict=True))


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
