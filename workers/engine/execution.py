"""Running one batch: one claim, one call into a host, one write of all outcomes, one round of acks."""

from __future__ import annotations

import logging
import time
from typing import Any

from registry.deployments import DesiredDeployment
from registry.errors import InputInvalid
from workers import documents
from workers.engine import endings, outcomes
from workers.engine.context import Context, persistently
from workers.engine.endings import Ending
from workers.engine.messages import QueuedJob
from workers.engine.outcomes import Claim
from workers.errors import HostDied, InputRejected, JobFailed, PredictionFailed, PredictionTimedOut
from workers.hosts.remote import Answer, HostGone, HostTooSlow, RemoteHost

_log = logging.getLogger(__name__)


class BatchRun:
    """One batch on one host."""

    def __init__(self, context: Context, deployment: DesiredDeployment, batch: list[QueuedJob]) -> None:
        self._context = context
        self._deployment = deployment
        #: The jobs that have not ended yet.
        self.jobs = batch
        self._started_at = time.time()

    async def run(self, host: RemoteHost) -> list[QueuedJob]:
        """Bring the jobs to their ends; return those that have to run again, each alone."""
        self._drop_unwanted()
        await self._claim()
        self._drop_invalid()
        if not self.jobs:
            return []
        self._context.outbox.started(self.jobs)
        rows = [row for job in self.jobs for row in job.rows]
        settings = self._deployment.settings
        try:
            answer = await host.predict(rows, settings.max_batch_size, settings.timeout_s)
        except HostGone as error:
            return self._after_lost_host(error)
        self._end(self._endings(answer))
        return []

    def give_up(self) -> None:
        """Fail the jobs that are left: an error in the engine itself must not leave them without an end."""
        error = JobFailed("The worker could not run this job because of an error of its own; its log says which.")
        now = time.time()
        self._end([endings.failed(self._context, job, error, self._started_at, now) for job in self.jobs])

    def _end(self, ends: list[Ending]) -> None:
        """Write ends in the background, so that the host can go on with the next batch."""
        if ends:
            self._context.in_background(endings.write(self._context, self._deployment.endpoint_name, ends))

    def _drop_unwanted(self) -> None:
        """Withdraw the jobs that have expired or that remote control has revoked."""
        now, ends, wanted = self._started_at, [], []
        for job in self.jobs:
            if job.expires_at is not None and job.expires_at <= now:
                ends.append(endings.withdrawn(self._context, job, documents.EXPIRED, now))
            elif self._context.is_revoked(job.job_id):
                ends.append(endings.withdrawn(self._context, job, documents.CANCELLED, now))
            else:
                wanted.append(job)
        self.jobs = wanted
        self._end(ends)

    async def _claim(self) -> None:
        """Mark the jobs as started; those that have ended already, cancelled or run elsewhere, are done with."""
        if not self.jobs:
            return
        context, claims = self._context, [self._claim_of(job) for job in self.jobs]
        name = self._deployment.endpoint_name
        statuses = await persistently("claim jobs", lambda: outcomes.claim(context.records, name, claims))
        ended = {job: status for job, status in zip(self.jobs, statuses, strict=True) if status}
        for job, status in ended.items():
            if status == "REVOKED":
                context.outbox.revoked(job, expired=False)
        if ended:
            context.in_background(persistently("acknowledge jobs", lambda: context.intake.ack(ended)))
        self.jobs = [job for job in self.jobs if job not in ended]

    def _claim_of(self, job: QueuedJob) -> Claim:
        record = documents.started(
            job.job_id,
            job.endpoint_name,
            job.submitted_at,
            self._started_at,
            worker=self._context.worker_name,
            attempts=job.lost_runs + 1,
        )
        return Claim(job.job_id, record, job.submitted_at or self._started_at)

    def _drop_invalid(self) -> None:
        """Fail the jobs whose arguments or inputs are wrong: what came through Celery nobody has checked yet."""
        ends, valid, now = [], [], time.time()
        for job in self.jobs:
            fault = self._fault(job)
            if fault is None:
                valid.append(job)
            else:
                ends.append(endings.failed(self._context, job, fault, self._started_at, now))
        self.jobs = valid
        self._end(ends)

    def _fault(self, job: QueuedJob) -> InputRejected | None:
        if job.fault is not None:
            return InputRejected(str(job.fault))
        try:
            for index, row in enumerate(job.rows):
                self._deployment.signature.check(row, path=f"inputs[{index}]" if job.many else "input")
        except InputInvalid as error:
            return InputRejected(str(error))
        return None

    def _after_lost_host(self, error: HostGone) -> list[QueuedJob]:
        """Fail the job that is to blame, if it ran alone; let all others run again, one by one."""
        jobs, settings = self.jobs, self._deployment.settings
        _log.warning("a batch of %d jobs of %s was lost: %s", len(jobs), self._deployment.endpoint_name, error)
        for job in jobs:
            job.lost_runs += 1
            job.alone = True
        too_slow = isinstance(error, HostTooSlow)
        [first, *others] = jobs
        if others or not (too_slow or first.lost_runs >= settings.max_attempts):
            return jobs
        reason = (
            PredictionTimedOut(f"The prediction took longer than timeout_s, {settings.timeout_s:g} s.")
            if too_slow
            else HostDied(f"The last of {first.lost_runs} attempts: {error}")
        )
        self._end([endings.failed(self._context, first, reason, self._started_at, time.time())])
        return []

    def _endings(self, answer: Answer) -> list[Ending]:
        ends, start, now = [], 0, time.time()
        for job in self.jobs:
            rows = range(start, start + len(job.rows))
            start = rows.stop
            bad = next((row for row in rows if row in answer.errors), None)
            if bad is None:
                outcome = self._outcome(job, answer, rows, now)
                ends.append(endings.succeeded(self._context, job, outcome, self._started_at, now))
            else:
                where = f"inputs[{bad - rows.start}]: " if job.many else ""
                error = PredictionFailed(f"{where}{answer.errors[bad]['type']}: {answer.errors[bad]['message']}")
                job.lost_runs += 1
                ends.append(endings.failed(self._context, job, error, self._started_at, now))
        return ends

    def _outcome(self, job: QueuedJob, answer: Answer, rows: range, now: float) -> dict[str, Any]:
        """The outcome document, as the contract with Celery programs has it."""
        outputs = answer.outputs[rows.start : rows.stop]
        submitted_at = job.submitted_at or self._started_at
        return {
            **({"predictions": outputs} if job.many else {"prediction": outputs[0]}),
            "endpoint_name": self._deployment.endpoint_name,
            "model_name": self._deployment.model_name,
            "version": self._deployment.version,
            "worker": self._context.worker_name,
            "batch_size": len(answer.outputs),
            "timing": {
                "queued_ms": round(max(0.0, self._started_at - submitted_at) * 1000, 3),
                "predict_ms": answer.predict_ms,
                "total_ms": round(max(0.0, now - submitted_at) * 1000, 3),
            },
            "attempts": job.lost_runs + 1,
        }
