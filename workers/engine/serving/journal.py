"""What the journal keeps of jobs that end: their inputs, beside the records, which the same step writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from registry.deployments import DesiredDeployment
from workers.engine.intake.messages import QueuedJob
from workers.jobs.endings.journal import NOTHING_KEPT, AnsweredBy, Beside, JournalPart, is_kept
from workers.jobs.transitions import Finish
from workers.journal.exclusion import Exclusion
from workers.measures.counters import Kind
from workers.platform import fast_json
from workers.platform.texts import short_repr
from workers.queues import arguments
from workers.settings import load
from workers.tracing.spans import trace_id

_log = logging.getLogger(__name__)
#: Cancelled and expired jobs have no outcome.
_KEPT_KINDS = (Kind.SUCCEEDED, Kind.FAILED)
_encode = msgspec.json.Encoder().encode


def keeps(deployment: DesiredDeployment) -> bool:
    """Whether the journal keeps jobs of a deployment."""
    return deployment.settings.journal > 0 and not deployment.is_replay


def part(
    worker_name: str, deployment: DesiredDeployment, jobs: Sequence[QueuedJob], finishes: Sequence[Finish]
) -> JournalPart:
    """Return what the journal keeps of jobs that end in one step."""
    if not keeps(deployment):
        return NOTHING_KEPT
    answered_by = AnsweredBy(deployment.model_name, deployment.version, worker_name)
    return JournalPart(_encode(answered_by), tuple(_lines(deployment, jobs, finishes)))


def _lines(
    deployment: DesiredDeployment, jobs: Sequence[QueuedJob], finishes: Sequence[Finish]
) -> Iterator[tuple[int, bytes]]:
    share, excluded = deployment.settings.journal, exclusion(*deployment.settings.journal_exclude)
    for number, (job, finish) in enumerate(zip(jobs, finishes, strict=True), 1):
        if finish.kind in _KEPT_KINDS and is_kept(share, job.job_id):
            try:
                yield (
                    number,
                    _beside(job, finish, has_exclusion=excluded is not None) + b"\n" + _inputs(job, excluded),
                )
            except (ValueError, TypeError, RecursionError) as error:
                # The job has its outcome all the same.
                fields = {"job_id": job.job_id}
                _log.warning("the journal can't keep job %s: %s", job.job_id, short_repr(error), extra=fields)


def _inputs(job: QueuedJob, excluded: Exclusion | None) -> bytes:
    return fast_json.dumps_celery(job.rows if excluded is None else without_excluded(job.rows, excluded))


def without_excluded(rows: Sequence[Raw], excluded: Exclusion) -> list[Any]:
    """Return rows, in which the excluded fields are replaced. Raises ValueError, RecursionError."""
    return [excluded.applied(row) for row in arguments.values(rows)]


@lru_cache(maxsize=256)
def exclusion(*paths: str) -> Exclusion | None:
    """Return how fields are replaced; None if none are."""
    if not paths:
        return None
    key = load().journal_hash_key.get_secret_value()
    if not key:
        _log.warning("QUEUECAST_JOURNAL_HASH_KEY is not set: the journal has null in the place of %s", ", ".join(paths))
    return Exclusion(paths, key)


def _beside(job: QueuedJob, finish: Finish, *, has_exclusion: bool) -> bytes:
    beside = Beside(job.many, trace_id(job.trace), getattr(job, "sticky_key", None))
    if finish.kind is Kind.FAILED:
        beside.queued_ms, beside.total_ms, beside.hides_error = finish.queued_ms, finish.latency_ms, has_exclusion
    return _encode(beside)
