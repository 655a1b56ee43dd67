"""Running one batch: one claim, one call of a host, one write of all outcomes, one round of acknowledgements.

A batch can be claimed while its host still predicts the one before (`host_feed`), and released if the host does not
become free.
"""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec import UNSET, Raw
from msgspec.structs import replace

from registry.deployments import DesiredDeployment
from registry.errors import InputInvalid
from workers.engine.batching.batch_size import BatchSize
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving import finish
from workers.engine.serving.batches.claims import Claims
from workers.engine.serving.finish import Ending
from workers.engine.serving.trials.copies import PairAnswer
from workers.engine.serving.trials.trial import Side
from workers.errors import InputRejected, JobFailed, PredictionFailed, PredictionTimedOut
from workers.hosts.worker_side.host import Answer, HostGone, HostTooSlow, RemoteHost
from workers.jobs import records, transitions
from workers.jobs.records import Outcome, Timing
from workers.measures import arms
from workers.measures.arms import Arm
from workers.platform import fast_json
from workers.platform.texts import short_repr

_log = logging.getLogger(__name__)


class BatchRun:
    """One batch on one host: `claim`, `predict` and `end`, in this order."""

    def __init__(
        self,
        context: Context,
        deployment: DesiredDeployment,
        batch: list[QueuedJob],
        size: BatchSize,
        side: Side | None = None,
    ) -> None:
        self._context = context
        self._deployment = deployment
        #: The jobs that have not ended yet.
        self.jobs = batch
        self._size = size
        #: The arm of a trial that its host serves.
        self._side = side
        #: When it was put together (monotonic).
        self.began_at = time.monotonic()
        # A job that was claimed at its fetch runs alone, unless it had to wait for its host.
        self._started_at = (batch[0].claimed_at if len(batch) == 1 else None) or time.time()
        #: The engine's and the host's time for this batch, without a wait for the host (ms).
        self._took_ms = 0.0
        self._host: RemoteHost | None = None
        #: The most rows of one call of the model.
        self._rows_at_once = size.rows_at_once
        self._answer: Answer | HostGone | None = None
        #: Done once the host that predicted it has ended.
        self._exited: asyncio.Future[int] | None = None
        self._cancelled: set[QueuedJob] = set()
        self._host_was_stopped = False

    @property
    def rows(self) -> int:
        """The rows of its jobs."""
        return sum(len(job.rows) for job in self.jobs)

    async def run(self, host: RemoteHost) -> list[QueuedJob]:
        """Run the jobs to their ends; return those that must run again."""
        suspects = await self.claim()
        await self.predict(host)
        return [*suspects, *self.end()]

    async def claim(self, *, ahead: bool = False) -> list[QueuedJob]:
        """Claim the jobs, and end those that can't run; return those that must run alone.

        With `ahead`, the host is not free yet: only jobs without earlier attempts are claimed.
        """
        self.jobs = [job for job in self.jobs if self._context.intake.keeps(job)]
        self._cancelled.update(job for job in self.jobs if job.withdrawn)
        self._drop_cancelled()
        self._drop_unwanted()
        if not self.jobs:
            return []
        claims = Claims(self._context, self._deployment, self._started_at)
        self.jobs, suspects, ends = await claims.make(self.jobs, ahead=ahead)
        self._end(ends)
        self._drop_invalid()
        self._took_ms = (time.monotonic() - self.began_at) * 1000
        return suspects

    async def release(self) -> list[QueuedJob]:
        """Take back a claim that was made ahead; return the jobs, which are queued again and have no attempt."""
        self._drop_cancelled()
        jobs, context = self.jobs, self._context
        if jobs:
            await context.for_endpoint(
                self._deployment.endpoint_name,
                "release claimed jobs",
                lambda: transitions.requeue(context.records, context.worker_name, jobs),
            )
        for job in jobs:
            job.attempts = 0
        return jobs

    async def predict(self, host: RemoteHost) -> None:
        """Have the host predict the claimed jobs; `end` handles its answer or its loss."""
        self._drop_cancelled()
        if not self.jobs:
            return
        self._context.event_buffer.started([job for job in self.jobs if not _has_started(job)])
        rows = [row for job in self.jobs for row in job.rows]
        began = time.monotonic()
        self._host, self._exited = host, host.exited
        if any(job.failures for job in self.jobs):
            self._rows_at_once = self._size.rows_after_loss
        try:
            self._answer = await host.predict(rows, self._rows_at_once, self._deployment.settings.timeout_s)
        except HostGone as error:
            self._answer = error
        finally:
            self._host = None
            self._took_ms += (time.monotonic() - began) * 1000

    def end(self) -> list[QueuedJob]:
        """End the predicted jobs; return those that must run again, because the host was lost."""
        answer = self._answer
        if answer is None:
            return []
        if isinstance(answer, HostGone):
            self._context.counters.lost(self._deployment, self.jobs, answer, self._started_at)
            return self._after_lost_host(answer)
        self._context.counters.predicted(self._deployment, self.jobs, answer, self._started_at)
        rows, exited = self.rows, self._exited
        self._size.measured(rows, self._took_ms, answer.predict_ms, self._rows_at_once)
        if exited is not None and exited.done() and self._had_large_call:
            self._size.lost(rows)  # it has answered, but has outgrown its memory
        self._learn_shape(answer)
        self._end(self._endings(answer))
        return []

    def cancel(self, job: QueuedJob) -> None:
        """Drop a cancelled job; its record is already written."""
        self._cancelled.add(job)

    @property
    def is_unwanted(self) -> bool:
        """Whether all of its jobs were cancelled."""
        return self._cancelled.issuperset(self.jobs)

    @property
    def is_at_host(self) -> bool:
        """Whether the host is predicting it."""
        return self._host is not None

    def stop_host(self) -> None:
        """Stop the host if it runs this batch; the jobs that are not cancelled run again."""
        if self._host is not None:
            self._host_was_stopped = True
            _log.info("stopping model host %d: a job of its batch was cancelled", self._host.pid)
            self._host.kill("a job of its batch was cancelled.")

    def give_up(self) -> None:
        """Fail the remaining jobs after an error of the engine, which must not leave them without an end."""
        error = JobFailed("Internal error of the worker; its log has the details.")
        now = time.time()
        self._end([self._failed(job, error, now) for job in self.jobs])
        self.jobs, self._answer = [], None

    def _end(self, ends: list[Ending]) -> None:
        """Write endings in the background, so that the host can start the next batch."""
        finish.write_soon(self._context, self._deployment, ends)

    def _drop_unwanted(self) -> None:
        """Withdraw jobs that have expired or were revoked by remote control."""
        now, ends, wanted = self._started_at, [], []
        for job in self.jobs:
            if self._is_expired(job, now):
                ends.append(finish.withdrawn(self._context, job, records.EXPIRED, now))
            elif self._context.is_revoked(job.job_id):
                ends.append(finish.withdrawn(self._context, job, records.CANCELLED, now))
            else:
                wanted.append(job)
        self.jobs = wanted
        self._end(ends)

    def _drop_cancelled(self) -> None:
        self._end([finish.stopped(self._context, job) for job in self.jobs if job in self._cancelled])
        self.jobs = [job for job in self.jobs if job not in self._cancelled]

    def _is_expired(self, job: QueuedJob, now: float) -> bool:
        """Whether a job has waited too long; a job that has begun once doesn't expire.

        The deployment's limit counts from the time when the job is due.
        """
        limit_s = self._deployment.settings.expires_in_s
        expires_at = job.expires_at
        if expires_at is None and limit_s is not None and job.waits_since is not None:
            expires_at = job.waits_since + limit_s
        return expires_at is not None and expires_at <= now and not job.attempts

    def _drop_invalid(self) -> None:
        """Fail jobs with invalid arguments or inputs, which nothing has checked if they came through Celery."""
        ends, valid, now = [], [], time.time()
        for job in self.jobs:
            fault = self._fault(job)
            if fault is None:
                valid.append(job)
            elif job.fault is None and self._fell_back([job], arms.ERRORS):
                continue  # the other version may take such an input
            else:
                ends.append(finish.failed(self._context, job, fault, self._started_at, now))
        self.jobs = valid
        self._end(ends)

    def _fault(self, job: QueuedJob) -> JobFailed | None:
        if job.fault is not None:
            return job.fault if isinstance(job.fault, JobFailed) else InputRejected(str(job.fault))
        signature = self._deployment.signature
        fits = signature.json_check.fits
        try:
            for index, row in enumerate(job.rows):
                if not fits(row):
                    value = fast_json.loads(bytes(row))
                    signature.check(value, f"inputs[{index}]" if job.many else "input")
                    job.rows[index] = Raw(fast_json.dumps_strict(value))  # the same for each parser
        except InputInvalid as error:
            return InputRejected(str(error))
        except (ValueError, RecursionError) as error:
            return InputRejected(f"The input can't be read: {short_repr(error)}.")
        return None

    @property
    def _had_large_call(self) -> bool:
        """Whether a call of the model had more rows than those after a lost host."""
        return min(self.rows, self._rows_at_once) > self._size.rows_after_loss

    def _after_lost_host(self, error: HostGone) -> list[QueuedJob]:
        """Fail a job that ran alone, in small calls; let the jobs of a larger batch run again, one by one."""
        jobs, settings, name = self.jobs, self._deployment.settings, self._deployment.endpoint_name
        if self._host_was_stopped:
            # The host was stopped on purpose, so this is no lost attempt of the other jobs.
            self._drop_cancelled()
            for job in self.jobs:
                job.interrupted = True
            return self.jobs
        fields = {"job_ids": [job.job_id for job in jobs]}
        _log.warning("a batch of %d jobs of %s was lost: %s", len(jobs), name, error, extra=fields)
        had_large_call = self._had_large_call
        self._size.lost(sum(len(job.rows) for job in jobs))
        now = time.time()
        self._drop_cancelled()
        if self._fell_back(self.jobs, arms.TIMED_OUT if isinstance(error, HostTooSlow) else arms.LOST_HOSTS):
            return []
        for job in jobs:
            job.failed(
                self._context.worker_name, now, f"In a batch of {len(jobs)}: {error}" if jobs[1:] else str(error)
            )
        self._drop_cancelled()
        if jobs[1:] or had_large_call or not self.jobs:
            return self.jobs
        if isinstance(error, HostTooSlow):
            reason = PredictionTimedOut(f"The prediction took longer than timeout_s, {settings.timeout_s:g} s.")
            self._end([self._failed(jobs[0], reason, now)])
            return []
        if len(jobs[0].failures) >= settings.max_attempts:
            self._end([finish.poison(self._context, self._deployment, jobs[0], now)])
            return []
        return jobs

    def _endings(self, answer: Answer) -> list[Ending]:
        ends, start, now = [], 0, time.time()
        for job in self.jobs:
            rows = range(start, start + len(job.rows))
            start = rows.stop
            bad = next((row for row in rows if row in answer.errors), None) if answer.errors else None
            if job in self._cancelled:
                ends.append(finish.stopped(self._context, job))
            elif bad is None and self._has_wrong_shape(job, answer, rows):
                self._fell_back([job], arms.WRONG_SHAPE)
            elif bad is not None and self._fell_back([job], arms.ERRORS):
                continue
            elif bad is None:
                outcome = self._outcome(job, answer, rows, now)
                ending = finish.succeeded(self._context, job, outcome, self._started_at, now)
                ends.append(self._copied(ending, answer, answer.outputs[rows.start : rows.stop]))
            else:
                where, found = f"inputs[{bad - rows.start}]: " if job.many else "", answer.errors[bad]
                error = PredictionFailed(f"{where}{found.type}: {found.message}")
                ends.append(self._copied(self._failed(job, error, now, found.traceback), answer, None, error))
        return ends

    def _fell_back(self, jobs: list[QueuedJob], failure: str) -> bool:
        """Run jobs that failed on the candidate again on the stable version, if its trial says so.

        More than one have failed together: else the first one counts for all, and each shows by itself what it does.
        """
        side = self._side
        if side is None or side.arm is not Arm.CANDIDATE:
            return False
        if side.falls_back:
            side.trial.fall_back(jobs, failure, self._started_at)
            return True
        for job in jobs[:1]:
            side.trial.note_failure(job, failure)
        return False

    def _has_wrong_shape(self, job: QueuedJob, answer: Answer, rows: range) -> bool:
        """Whether the candidate's outputs differ in shape from the stable version's; note it if they are kept."""
        side = self._side
        if side is None or side.arm is not Arm.CANDIDATE or side.trial.fits(answer.outputs[rows.start : rows.stop]):
            return False
        if not side.falls_back:
            side.trial.note_failure(job, arms.WRONG_SHAPE)
        return side.falls_back

    def _learn_shape(self, answer: Answer) -> None:
        """Learn the shape of the stable version's outputs."""
        side = self._side
        if side is not None and side.arm is Arm.STABLE and not answer.errors:
            doubted = any(job.dealt is not None and job.dealt.failure == arms.WRONG_SHAPE for job in self.jobs)
            side.trial.learn(answer.outputs, all_of_them=doubted)

    def _copied(
        self, ending: Ending, answer: Answer, outputs: list[Raw] | None, error: JobFailed | None = None
    ) -> Ending:
        """Note the time of a trial's job; return its ending, with a copy for the other version if it gets one."""
        side, job = self._side, ending.job
        if side is None:
            return ending
        if job.dealt is not None and job.dealt.arm is side.arm:
            job.dealt.predict_ms = answer.predict_ms
        has_failed_there = error is not None and side.arm is Arm.CANDIDATE
        # An input that the candidate fails has nothing to compare, and costs the stable version nothing.
        if has_failed_there or not side.trial.copies_job(job, side.arm):
            return ending
        code, message = (None, None) if error is None else (error.code, str(error))
        size, total_ms = len(answer.outputs), ending.finish.latency_ms
        theirs = PairAnswer(self._deployment.version, outputs, code, message, answer.predict_ms, size, total_ms)
        return replace(ending, copy=lambda: side.trial.copy(job, side.arm, theirs))

    def _failed(self, job: QueuedJob, error: JobFailed, now: float, traceback: str = "") -> Ending:
        context, deployment = self._context, self._deployment
        ending = finish.failed(context, job, error, self._started_at, now, traceback=traceback)
        return finish.kept(context, deployment, ending, error, now)

    def _outcome(self, job: QueuedJob, answer: Answer, rows: range, now: float) -> Outcome:
        outputs = answer.outputs[rows.start : rows.stop]
        waits_since = job.waits_since or self._started_at
        return Outcome(
            prediction=UNSET if job.many else outputs[0],
            predictions=outputs if job.many else UNSET,
            endpoint_name=self._deployment.endpoint_name,
            model_name=self._deployment.model_name,
            version=self._deployment.version,
            worker=self._context.worker_name,
            batch_size=len(answer.outputs),
            timing=Timing(
                queued_ms=round(max(0.0, self._started_at - waits_since) * 1000, 3),
                predict_ms=answer.predict_ms,
                total_ms=round(max(0.0, now - waits_since) * 1000, 3),
            ),
            attempts=job.attempts,
        )


def _has_started(job: QueuedJob) -> bool:
    """Whether a job of this claim has run on a candidate."""
    return job.dealt is not None and job.dealt.fell_back and job.dealt.failure != arms.UNSERVED
