"""Claiming jobs before they run, and finding those whose last attempt was lost with its worker.

The record counts the attempts, so that a job which kills worker after worker is recognised by the one
that gets it next. Such a job runs alone, and is given up once `max_attempts` attempts were lost.
"""

from __future__ import annotations

import json
import logging
from typing import NamedTuple

from registry.deployments import DesiredDeployment
from workers import documents
from workers.engine import endings, outcomes
from workers.engine.context import Context, persistently
from workers.engine.endings import Ending
from workers.engine.messages import QueuedJob
from workers.engine.outcomes import Claim

_log = logging.getLogger(__name__)


class Claimed(NamedTuple):
    """What became of a batch."""

    #: Marked as started, by this worker.
    jobs: list[QueuedJob]
    #: To be tried again, each in a batch of its own.
    suspects: list[QueuedJob]
    #: Of jobs that were given up.
    ends: list[Ending]


class Claims:
    """Claims for one batch of a deployment (`started_at`: s since the epoch)."""

    def __init__(self, context: Context, deployment: DesiredDeployment, started_at: float) -> None:
        self._context = context
        self._deployment = deployment
        self._started_at = started_at

    async def make(self, batch: list[QueuedJob]) -> Claimed:
        """Claim the jobs of a batch, in one round trip unless an attempt was lost."""
        context, name = self._context, self._deployment.endpoint_name
        claims = [Claim(job.job_id, self._record(job, 1), job.submitted_at or self._started_at) for job in batch]
        answers = await persistently("claim jobs", lambda: outcomes.claim(context.records, name, claims))
        claimed, ended = Claimed([], [], []), []
        for job, answer in zip(batch, answers, strict=True):
            if answer == "":
                job.attempts = 1
                claimed.jobs.append(job)
            elif not answer.startswith("{"):
                ended.append(job)
                if answer == "REVOKED":
                    context.outbox.revoked(job)
            elif len(batch) > 1:
                job.alone = True
                claimed.suspects.append(job)
            else:
                await self._again(job, answer.encode(), claimed)
        if ended:
            context.in_background(persistently("acknowledge jobs", lambda: context.intake.ack(ended)))
        return claimed

    async def _again(self, job: QueuedJob, expected: bytes, claimed: Claimed) -> None:
        """Claim a job whose last attempt had no end: on this worker, if its host was lost, or on one that is gone."""
        before = json.loads(expected)
        worker = (before.get("result") or {}).get("hostname", "")
        if not (worker == self._context.worker_name and before.get("attempts") == job.attempts):
            job.attempts, job.failures = before.get("attempts") or 1, before.get("failures") or []
            job.failed(worker, self._started_at, f"Worker {worker} was lost while it ran this job.")
            about = {"job_id": job.job_id}
            _log.warning("job %s was lost with worker %s (attempt %d)", job.job_id, worker, job.attempts, extra=about)
            if len(job.failures) >= self._deployment.settings.max_attempts:
                claimed.ends.append(endings.poison(self._context, job, self._started_at))
                return
        # Otherwise its batch was lost with a host here, and only alone can it show whether it is to blame.
        job.attempts += 1
        record, records = self._record(job, job.attempts), self._context.records
        mine = await persistently("claim a job", lambda: outcomes.claim_again(records, job.job_id, expected, record))
        (claimed.jobs if mine else claimed.suspects).append(job)

    def _record(self, job: QueuedJob, attempts: int) -> bytes:
        return documents.started(
            job.job_id,
            job.endpoint_name,
            job.submitted_at,
            self._started_at,
            worker=self._context.worker_name,
            attempts=attempts,
            failures=job.failures,
            owner=job.owner,
            priority=job.priority,
        )
