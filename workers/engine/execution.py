"""Running one batch: one claim, one call into a host, one write of all outcomes, one round of acks."""

from __future__ import annotations

import logging
import time

from msgspec import UNSET

from registry.deployments import DesiredDeployment
from registry.errors import InputInvalid
from workers import documents
from workers.documents import Outcome, Timing
from workers.engine import endings
from workers.engine.batch_size import BatchSize
from workers.engine.claiming import Claims
from workers.engine.context import Context
from workers.engine.endings import Ending
from workers.engine.messages import QueuedJob
from workers.errors import InputRejected, JobFailed, PredictionFailed, PredictionTimedOut
from workers.hosts.remote import Answer, HostGone, HostTooSlow, RemoteHost

_log = logging.getLogger(__name__)


class BatchRun:
    """One batch on one host."""

    def __init__(
        self, context: Context, deployment: DesiredDeployment, batch: list[QueuedJob], size: BatchSize
    ) -> None:
        self._context = context
        self._deployment = deployment
        #: The jobs that have not ended yet.
        self.jobs = batch
        self._size = size
        self._started_at = time.time()
        self._began = time.monotonic()
        self._host: RemoteHost | None = None
        self._cancelled: set[QueuedJob] = set()

    async def run(self, host: RemoteHost) -> list[QueuedJob]:
        """Bring the jobs to their ends; return those that have to run again."""
        self.jobs = [job for job in self.jobs if self._context.intake.keeps(job)]
        self._drop_unwanted()
        suspects = await self._claim()
        self._drop_invalid()
        self._drop_cancelled()
        if not self.jobs:
            return suspects
        self._context.outbox.started(self.jobs)
        rows = [row for job in self.jobs for row in job.rows]
        settings = self._deployment.settings
        self._host = host
        try:
            answer = await host.predict(rows, self._size.rows_at_once, settings.timeout_s)
        except HostGone as error:
            self._context.measures.lost(self._deployment, self.jobs, error, self._started_at)
            return [*suspects, *self._after_lost_host(error)]
        finally:
            self._host = None
        self._context.measures.predicted(self._deployment, self.jobs, answer, self._started_at)
        self._size.measured(len(rows), (time.monotonic() - self._began) * 1000, answer.predict_ms)
        self._end(self._endings(answer))
        return suspects

    def cancel(self, job: QueuedJob) -> None:
        """Stop the host, because a job is not wanted any more; its record says so already."""
        self._cancelled.add(job)
        if self._host is not None:
            _log.info("stopping model host %d: a job of its batch was cancelled", self._host.pid)
            self._host.kill("a job of its batch was cancelled.")

    def give_up(self) -> None:
        """Fail the jobs that are left: an error in the engine itself must not leave them without an end."""
        error = JobFailed("The worker could not run this job because of an error of its own; its log says which.")
        now = time.time()
        self._end([endings.failed(self._context, job, error, self._started_at, now) for job in self.jobs])

    def _end(self, ends: list[Ending]) -> None:
        """Write ends in the background, so that the host can go on with the next batch."""
        if ends:
            self._context.in_background(endings.write(self._context, self._deployment, ends))

    def _drop_unwanted(self) -> None:
        """Withdraw the jobs that have expired or that remote control has revoked."""
        now, ends, wanted = self._started_at, [], []
        for job in self.jobs:
            if self._is_expired(job, now):
                ends.append(endings.withdrawn(self._context, job, documents.EXPIRED, now))
            elif self._context.is_revoked(job.job_id):
                ends.append(endings.withdrawn(self._context, job, documents.CANCELLED, now))
            else:
                wanted.append(job)
        self.jobs = wanted
        self._end(ends)

    def _drop_cancelled(self) -> None:
        self._end([endings.stopped(self._context, job) for job in self.jobs if job in self._cancelled])
        self.jobs = [job for job in self.jobs if job not in self._cancelled]

    def _is_expired(self, job: QueuedJob, now: float) -> bool:
        """A job that has begun once is run to its end: its own limit, or the deployment's, is one on waiting."""
        limit_s = self._deployment.settings.expires_in_s
        expires_at = job.expires_at
        if expires_at is None and limit_s is not None and job.submitted_at is not None:
            expires_at = job.submitted_at + limit_s
        return expires_at is not None and expires_at <= now and not job.attempts

    async def _claim(self) -> list[QueuedJob]:
        """Mark the jobs as started, and drop those that have ended already; return those that must run alone."""
        if not self.jobs:
            return []
        claims = Claims(self._context, self._deployment, self._started_at)
        self.jobs, suspects, ends = await claims.make(self.jobs)
        self._end(ends)
        return suspects

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
        jobs, settings, name = self.jobs, self._deployment.settings, self._deployment.endpoint_name
        if self._cancelled:
            # The host was stopped on purpose: nobody else is to blame.
            self._drop_cancelled()
            return self.jobs
        about = {"job_ids": [job.job_id for job in jobs]}
        _log.warning("a batch of %d jobs of %s was lost: %s", len(jobs), name, error, extra=about)
        self._size.lost(sum(len(job.rows) for job in jobs))
        now = time.time()
        for job in jobs:
            job.failed(
                self._context.worker_name, now, f"In a batch of {len(jobs)}: {error}" if jobs[1:] else str(error)
            )
        if jobs[1:]:
            return jobs
        if isinstance(error, HostTooSlow):
            reason = PredictionTimedOut(f"The prediction took longer than timeout_s, {settings.timeout_s:g} s.")
            self._end([endings.failed(self._context, jobs[0], reason, self._started_at, now)])
            return []
        if len(jobs[0].failures) >= settings.max_attempts:
            self._end([endings.poison(self._context, jobs[0], now)])
            return []
        return jobs

    def _endings(self, answer: Answer) -> list[Ending]:
        ends, start, now = [], 0, time.time()
        for job in self.jobs:
            rows = range(start, start + len(job.rows))
            start = rows.stop
            bad = next((row for row in rows if row in answer.errors), None) if answer.errors else None
            if bad is None:
                outcome = self._outcome(job, answer, rows, now)
                ends.append(endings.succeeded(self._context, job, outcome, self._started_at, now))
            else:
                where = f"inputs[{bad - rows.start}]: " if job.many else ""
                error = PredictionFailed(f"{where}{answer.errors[bad].type}: {answer.errors[bad].message}")
                ends.append(endings.failed(self._context, job, error, self._started_at, now))
        return ends

    def _outcome(self, job: QueuedJob, answer: Answer, rows: range, now: float) -> Outcome:
        outputs = answer.outputs[rows.start : rows.stop]
        submitted_at = job.submitted_at or self._started_at
        return Outcome(
            prediction=UNSET if job.many else outputs[0],
            predictions=outputs if job.many else UNSET,
            endpoint_name=self._deployment.endpoint_name,
            model_name=self._deployment.model_name,
            version=self._deployment.version,
            worker=self._context.worker_name,
            batch_size=len(answer.outputs),
            timing=Timing(
                queued_ms=round(max(0.0, self._started_at - submitted_at) * 1000, 3),
                predict_ms=answer.predict_ms,
                total_ms=round(max(0.0, now - submitted_at) * 1000, 3),
            ),
            attempts=job.attempts,
        )
