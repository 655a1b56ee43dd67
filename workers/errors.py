"""What can go wrong with jobs, queues and model hosts; knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

#: The module that records of failed jobs name: the classes' name for programs, in a clone as well as installed.
JOB_ERRORS_MODULE = "queuecast.errors"
#: What the release before named, the only name that its programs know. Records may still have it.
EARLIER_JOB_ERRORS_MODULE = "workers.errors"  # a stored name


class WorkerError(Exception):
    """Root of everything that this package raises on purpose."""

    code = "worker_error"


class SettingsWrong(WorkerError):
    """An environment variable has a value that can't be used; the message names it."""

    code = "settings_wrong"


class QueueUnavailable(WorkerError):
    """Redis or the broker can't be reached; the message says whether something may have been stored nevertheless."""

    code = "queue_unavailable"


class JobUnconfirmed(QueueUnavailable):
    """Redis or the broker was lost after it was asked to store a job, so whether it is stored is not known.

    `job_id` is its id if it is. A repeat with the same idempotency key, or the same `task_id`, stores it once at most.
    """

    code = "job_unconfirmed"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The job queue did not confirm job {job_id}: it may be stored, and then it runs. With the same "
            "Idempotency-Key (in Celery: the same task_id) the request can safely be sent again: it is stored once. "
            "Without one, ask for the job first."
        )
        self.job_id = job_id


class QueueStoreFull(QueueUnavailable):
    """Redis has reached its `maxmemory`; nothing was stored."""

    code = "queue_store_full"

    def __init__(self) -> None:
        super().__init__(
            "The job queue's memory is full; nothing was stored. Jobs that end make room: try again shortly."
        )


class QueueFull(WorkerError):
    """The endpoint, or this client's share of it, has no room for more unfinished jobs; nothing was stored.

    Attributes:
        full: which limit is reached.
        unfinished: how many jobs, or bytes of jobs, are counted for it.
    """

    code = "queue_full"
    #: Reason returned by the Lua scripts -> name of the limit, and the text of the error.
    REASONS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "full": (
            "max_queue_length",
            "Endpoint {name!r} has {count} unfinished jobs, {room} its max_queue_length allows.",
        ),
        "delayed": (
            "max_queue_length",
            "Endpoint {name!r} has {count} delayed jobs, {room} its max_queue_length allows.",
        ),
        "full_bytes": (
            "max_queue_bytes",
            "Endpoint {name!r} has {count} bytes of unfinished jobs: its max_queue_bytes leaves no room for more.",
        ),
        "full_high": (
            "high priority",
            "An API key may have {count} unfinished jobs of high priority at endpoint {name!r}. Submit more as normal.",
        ),
        "share": (
            "share of max_queue_length",
            "This API key has {count} unfinished jobs at endpoint {name!r}: the rest of the queue is for other keys.",
        ),
        "share_bytes": (
            "share of max_queue_bytes",
            "This API key has {count} bytes of unfinished jobs at endpoint {name!r}: the rest is for other keys.",
        ),
    }

    def __init__(self, endpoint_name: str, unfinished: int, asked: int = 1, why: str = "full") -> None:
        self.full, text = self.REASONS[why]
        room = "as many as" if asked == 1 else f"and with {asked} more there would be more than"
        super().__init__(text.format(name=endpoint_name, count=unfinished, room=room) + " Try again later.")
        self.endpoint_name = endpoint_name
        self.unfinished = unfinished


class BulkTooLarge(WorkerError):
    """More jobs in one call than may be; nothing was stored."""

    code = "bulk_too_large"

    def __init__(self, jobs: int, most: int, what: str = "jobs") -> None:
        super().__init__(
            f"{jobs} {what} are too many for one call: it takes at most {most}, or the endpoint's max_queue_length."
        )
        self.jobs = jobs
        self.most = most


class SnapshotImpossible(WorkerError):
    """Redis's data can't be saved, or can't be put where it should be; the message says why, and what to do."""

    code = "snapshot_impossible"


class BulkInterrupted(QueueUnavailable):
    """Redis or the broker was lost while many jobs were stored; `job_ids` tells which are.

    It has the ids in the order of the call, None for a job that is not stored, and ends with the last that is.
    Of `unconfirmed_job_ids` it is not known.
    """

    code = "bulk_interrupted"

    def __init__(self, jobs: int, job_ids: Sequence[str | None], unconfirmed_job_ids: Sequence[str]) -> None:
        stored = sum(1 for each in job_ids if each is not None)
        super().__init__(
            f"The job queue was lost on the way: {stored} of {jobs} jobs are stored, those in job_ids (in order, null "
            f"for one that isn't); of the {len(unconfirmed_job_ids)} in unconfirmed_job_ids, GET /jobs/<id> tells. "
            "With an Idempotency-Key, the same request again stores what is missing."
        )
        self.stored = stored
        self.job_ids = list(job_ids)
        self.unconfirmed_job_ids = list(unconfirmed_job_ids)


class IdempotencyConflict(WorkerError):
    """The idempotency key was used before, for another request."""

    code = "idempotency_conflict"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"This Idempotency-Key was used for another request, which became job {job_id}. "
            "Take a new key for a new request."
        )
        self.job_id = job_id


class DeadLetterNotFound(WorkerError):
    """No job with this id is in the dead-letter store."""

    code = "dead_letter_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no dead letter {job_id!r}: it was replayed, discarded, or never was one.")
        self.job_id = job_id


class JobNotFound(WorkerError):
    """No job with this id was ever submitted, or its record has expired."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}: the id is unknown or its record has expired.")
        self.job_id = job_id


class JobUnreadable(WorkerError):
    """The job's record can't be read: another program has written it."""

    code = "job_unreadable"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The record of job {job_id} can't be read: another program has written it. This job has no outcome; "
            "submit its input again."
        )
        self.job_id = job_id


class JobNotCancellable(WorkerError):
    """The job is running or has ended, so it can't be taken back any more."""

    code = "job_not_cancellable"

    def __init__(self, job_id: str, state: str) -> None:
        hint = "running jobs are cancelled with force" if state == "running" else "it has ended"
        super().__init__(f"Job {job_id} is {state}: {hint}.")
        self.job_id = job_id
        self.state = state


class JobNotFailed(WorkerError):
    """Only failed jobs can be run again."""

    code = "job_not_failed"

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"Job {job_id} is {state}: only a failed job can be run again. Submit its input as a new job.")
        self.job_id = job_id
        self.state = state


class InputNotKept(WorkerError):
    """The input of the job is not kept, or not any more."""

    code = "input_not_kept"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The input of job {job_id} is not kept: its deployment keeps none (keep_failed_inputs), the input was "
            "refused, or newer or larger ones took its place. Send an input with the request to run the job again."
        )
        self.job_id = job_id


class JobArgumentsWrong(WorkerError):
    """The arguments of a `predict` call are not (endpoint_name, input) or inputs=[…]."""

    code = "job_arguments_wrong"


class TargetRefused(WorkerError):
    """A webhook may not be sent to this URL, or to the address that its host has; nothing was sent.

    Attributes:
        address: the address that was refused, if it was one.
    """

    code = "webhook_target_refused"

    def __init__(self, message: str, address: str | None = None) -> None:
        super().__init__(message)
        self.address = address


class TargetUnreachable(WorkerError):
    """A webhook could not be delivered: its target was not found, not reached, or didn't answer with HTTP in time.

    Whether it has arrived is not known once the connection was made.
    """

    code = "webhook_target_unreachable"


class DeliveryNotFound(WorkerError):
    """There is no notification of this job's end, or none any more."""

    code = "delivery_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no delivery for job {job_id!r}: it has not ended, or it has no callback_url, or what became of "
            "its delivery is kept no longer."
        )
        self.job_id = job_id


class HostStartFailed(WorkerError):
    """A model host could not be started or could not load its model."""

    code = "host_start_failed"


class JournalFull(QueueUnavailable):
    """The stream of the journal has no room for feedback."""

    code = "journal_full"


class JournalBusy(WorkerError):
    """Another process writes the journal's files."""

    code = "journal_busy"


class JobFailed(WorkerError):
    """Root of the reasons for which a job ends as failed; `AsyncResult.get()` raises them."""

    code = "job_failed"


class PredictionFailed(JobFailed):
    """The model raised an exception, or returned something that is not an answer."""

    code = "prediction_failed"


class InputRejected(JobFailed):
    """The input doesn't fit the model's signature (found by the worker)."""

    code = "input_invalid"


class HostDied(JobFailed):
    """The model host died while it predicted this job alone."""

    code = "host_died"


class PoisonJob(JobFailed):
    """Every attempt at the job ended with the loss of its host or worker; it is a dead letter now."""

    code = "poison_job"


class PredictionTimedOut(JobFailed):
    """The prediction took longer than the deployment's `timeout_s`."""

    code = "prediction_timed_out"


class EndpointUndeployed(JobFailed):
    """The endpoint was undeployed with `backlog: reject` while the job was queued, which cancelled it.

    `AsyncResult.get()` raises it for a record of an earlier release alone; for others it raises TaskRevokedError.
    """

    code = "endpoint_undeployed"


class EndpointUnknown(JobFailed):
    """Nothing that takes jobs is deployed under this name.

    `predict.delay` raises it at once. A job that a program without our package has sent nevertheless fails with it.
    """

    code = "endpoint_unknown"


class SuccessorsTooLong(JobArgumentsWrong, JobFailed):
    """What follows the job by Celery's canvas (link, chain, chord) is too long to be kept with it.

    `predict.delay` raises it at once. A job that a program without our package has sent nevertheless fails with it.

    Attributes:
        plan_of_failure: what is to be sent when the job fails because of it (see `workers.jobs.endings`).
    """

    code = "successors_too_long"

    def __init__(self, message: str, plan_of_failure: bytes = b"") -> None:
        super().__init__(message)
        self.plan_of_failure = plan_of_failure


class StepEndpointUndeployed(JobFailed):
    """Nothing that takes jobs is deployed as the endpoint of a pipeline's next step, or not any more."""

    code = "step_endpoint_undeployed"


class StepLost(JobFailed):
    """The outcome of a pipeline's step is gone, so that the next one has no input: its record has expired."""

    code = "step_lost"
