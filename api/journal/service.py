"""Reads and forgets jobs of the journal, a bounded page at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from api.auth import identity
from api.journal.schemas import Forget, JournalQuery, moment
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentNotFound
from workers.journal import forgetting, reading, rows
from workers.journal.files import dataset, kept
from workers.journal.forgetting import Which
from workers.journal.positions import Position
from workers.journal.rows import Row
from workers.judging import forgetting as examples
from workers.platform.redis.client import translated_errors

_log = logging.getLogger(__name__)

#: A page is in memory as a whole, and ends once it has so many bytes of inputs and predictions.
_PAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Page:
    """Some jobs of the journal, in the form that was asked for."""

    content: bytes
    #: The position behind which the next page begins; None if there is none.
    cursor: str | None


def page(services: Services, endpoint_name: str, wanted: JournalQuery) -> Page:
    """Return the next jobs of an endpoint.

    Raises:
        DeploymentNotFound: it was never deployed.
        ArtifactStoreUnavailable, QueueUnavailable: the journal can't be read.
    """
    _deployment(services, endpoint_name)
    since, until = moment(wanted.since), None if wanted.until is None else moment(wanted.until)
    after = reading.BEGINNING if wanted.cursor is None else Position.parse(wanted.cursor)
    found, size_bytes, cursor = list[Row](), 0, None
    with translated_errors():
        source = reading.found_rows(endpoint_name, since=since, until=until, after=after)
        for position, some in groupby(source, key=lambda row: row.stream_id):
            # What ended in one step stays together, as the cursor is its position.
            for row in some:
                found.append(row)
                size_bytes += len(row.inputs) + len(row.predictions or "")
            if len(found) >= wanted.limit or size_bytes >= _PAGE_BYTES:
                cursor = position
                break
    return Page(_encoded(endpoint_name, found, wanted.format), cursor)


def _encoded(endpoint_name: str, found: list[Row], form: str) -> bytes:
    if form == "parquet":
        return dataset.encoded(rows.exported_table(endpoint_name, found))
    return b"".join(rows.line(endpoint_name, row) for row in found)


def show(services: Services, endpoint_name: str) -> dict[str, Any]:
    """Return how much of an endpoint's jobs is kept. Raises as `page`."""
    settings = _deployment(services, endpoint_name).settings
    with translated_errors():
        found = kept.kept(endpoint_name)
    return {
        "endpoint_name": endpoint_name,
        "journal": settings.journal,
        "journal_retention_days": settings.journal_retention_days,
        "job_count": found.jobs,
        "file_count": found.files,
        "size_bytes": found.size_bytes,
        "first_at": None if found.first_at is None else found.first_at.isoformat(),
        "last_at": None if found.last_at is None else found.last_at.isoformat(),
        "waiting_count": found.waiting_jobs,
        "dropped_count": found.dropped_jobs,
    }


def forget(services: Services, endpoint_name: str | None, wanted: Forget) -> dict[str, int]:
    """Forget jobs of an endpoint, or of all, and their examples in reports; return how many.

    Raises:
        JournalBusy: another process writes the files for too long.
        EvaluationChanged: a report changes all the time; the journal has forgotten the jobs.
        DeploymentNotFound, ArtifactStoreUnavailable, ArtifactStoreFull, QueueUnavailable: as for `page`.
    """
    if endpoint_name is not None:
        _deployment(services, endpoint_name)
    before = None if wanted.before is None else moment(wanted.before)
    which = Which(endpoint_name, () if wanted.job is None else (wanted.job,), wanted.owner, before)
    watched = examples.watched(services.database, endpoint_name)
    with translated_errors():
        done = forgetting.forget(which, watched)
    examples_count = examples.forget(services.database, which, done.watched)
    caller = identity.current().name
    _log.info("%s made the journal forget %d jobs, and reports %d examples", caller, done.jobs, examples_count)
    return {"forgotten_count": done.jobs, "forgotten_example_count": examples_count}


def _deployment(services: Services, endpoint_name: str) -> DesiredDeployment:
    with services.database.session() as session:
        found = deployments.find(session, endpoint_name)
    if found is None:
        raise DeploymentNotFound(endpoint_name)
    return found
