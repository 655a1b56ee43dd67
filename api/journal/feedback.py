"""Takes feedback on jobs: one, or many in one call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from sqlalchemy.orm import Session

from api.auth.identity import Identity
from api.errors import TooManyRequests
from api.http.ndjson import Element
from api.http.reading import validated
from api.journal.schemas import FeedbackOfJob, NewFeedback
from api.process.services import Services
from registry import history
from registry.serving.settings import ServingSettings
from workers.errors import JobNotFound
from workers.journal import feedback, searching
from workers.journal.feedback_rows import Feedback
from workers.journal.searching import KeptJob
from workers.platform.redis import rate_limits
from workers.platform.redis.client import translated_errors

#: Searches of the journal by one caller, over all API processes.
SEARCHES_PER_S = 5.0
#: A worker has new settings after so long, and a job that ends then may have been decided by earlier ones; clocks may
#: differ by so much.
_NOTICED_IN_S, _CLOCKS_S = 60.0, 5.0


class Given(NamedTuple):
    """What became of feedback on many jobs."""

    accepted: int
    #: Jobs that the journal doesn't have, or that are not the caller's.
    unknown: list[str]


def give(services: Services, caller: Identity, job_id: str, wanted: NewFeedback) -> str:
    """Store feedback on a job; return its endpoint.

    Raises:
        JobNotFound: the journal doesn't have the job, or it isn't the caller's.
        TooManyRequests: the caller searches the journal too often.
        JournalFull, JournalBusy, QueueUnavailable, ArtifactStoreUnavailable: it can't be stored now.
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
        TooManyRequests: the caller searches the journal too often.
        JournalFull, JournalBusy, QueueUnavailable, ArtifactStoreUnavailable: it can't be stored now; nothing is.
    """
    wanted = [validated(FeedbackOfJob, each.document, prefix=each.field("")) for each in elements]
    found = _found(services, caller, list(dict.fromkeys(each.job_id for each in wanted)))
    known = [(each.job_id, each) for each in wanted if each.job_id in found]
    _store(found, known)
    return Given(len(known), [each.job_id for each in wanted if each.job_id not in found])


def _found(services: Services, caller: Identity, job_ids: list[str]) -> dict[str, KeptJob]:
    """Return those of these jobs that the journal has and that are the caller's.

    Jobs of others are looked for as jobs that don't exist are: no answer and no time tells them apart.
    """
    owner = caller.sees_jobs_of
    with services.database.session() as session, translated_errors():
        found, left = feedback.sought(job_ids, KeptShares(session).around, owner)
    if left:
        _take_search(caller)
        with translated_errors():
            found |= searching.search(left, owner=owner, endpoint_names=caller.endpoint_names)
    return {job_id: job for job_id, job in found.items() if caller.may_use(job.endpoint_name)}


def _take_search(caller: Identity) -> None:
    """Raise TooManyRequests if the caller searches the files of the journal too often."""
    if wait_s := rate_limits.take(f"feedback:{caller.name or ''}", SEARCHES_PER_S):
        raise TooManyRequests(
            f"Feedback on jobs whose records are gone searches the journal, {SEARCHES_PER_S:g} times a second at most. "
            "Try again after Retry-After, or give more of it in one call (POST /feedback).",
            {},
            math.ceil(wait_s),
        )


class KeptShares:
    """The shares of jobs that deployments have let the journal keep, by their settings at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settings: dict[str, Callable[[float, float], list[Mapping[str, Any]] | None]] = {}

    def around(self, endpoint_name: str, at: float) -> set[float] | None:
        """Return the shares that were in force around a time (s since the epoch); None if that is not known."""
        if endpoint_name not in self._settings:
            self._settings[endpoint_name] = history.settings_in(self._session, endpoint_name)
        found = self._settings[endpoint_name](at - _NOTICED_IN_S, at + _CLOCKS_S)
        return None if found is None else {ServingSettings.stored(each).journal for each in found}


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
