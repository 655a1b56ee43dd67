"""Takes feedback on jobs: one, or many in one call."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from api.auth.identity import Identity
from api.http.ndjson import Element
from api.http.reading import validated
from api.journal.schemas import FeedbackOfJob, NewFeedback
from api.process.services import Services
from registry import deployments
from workers.errors import JobNotFound
from workers.journal import feedback
from workers.journal.feedback import KeptJob
from workers.journal.feedback_rows import Feedback
from workers.platform.redis.client import translated_errors


class Given(NamedTuple):
    """What became of feedback on many jobs."""

    accepted: int
    #: Jobs that the journal doesn't have, or that are not the caller's.
    unknown: list[str]


def give(services: Services, caller: Identity, job_id: str, wanted: NewFeedback) -> str:
    """Store feedback on a job; return its endpoint.

    Raises:
        JobNotFound: the journal doesn't have the job, or it isn't the caller's.
        JournalFull, QueueUnavailable, ArtifactStoreUnavailable: it can't be stored now.
    """
    found = _found(services, caller, [job_id])
    if job_id not in found:
        raise JobNotFound(job_id)
    _store(found, [(job_id, wanted)])
    return found[job_id].endpoint_name


def give_many(services: Services, caller: Identity, elements: Sequence[Element]) -> Given:
    """Store feedback on many jobs; those that the journal doesn't have are left out and named.

    Raises:
        RequestInvalid: an element is wrong; names it.
        JournalFull, QueueUnavailable, ArtifactStoreUnavailable: it can't be stored now; nothing is.
    """
    wanted = [validated(FeedbackOfJob, each.document, prefix=each.field("")) for each in elements]
    found = _found(services, caller, list(dict.fromkeys(each.job_id for each in wanted)))
    known = [(each.job_id, each) for each in wanted if each.job_id in found]
    _store(found, known)
    return Given(len(known), [each.job_id for each in wanted if each.job_id not in found])


def _found(services: Services, caller: Identity, job_ids: list[str]) -> dict[str, KeptJob]:
    with services.database.session() as session:
        known = {each.endpoint_name: each for each in deployments.desired(session)}
    with translated_errors():
        found = feedback.find(job_ids, known)
    owner = caller.sees_jobs_of
    return {job_id: job for job_id, job in found.items() if owner is None or job.owner == owner}


def _store(found: dict[str, KeptJob], given: Iterable[tuple[str, NewFeedback]]) -> None:
    of_endpoint, now = dict[str, list[Feedback]](), time.time()
    for job_id, each in given:
        job = found[job_id]
        some = of_endpoint.setdefault(job.endpoint_name, [])
        some.append(Feedback(job_id, _raw(each.truth), each.weight, job.owner, now))
    with translated_errors():
        feedback.give(of_endpoint)


def _raw(truth: Any) -> Raw:
    return Raw(msgspec.json.encode(truth))
