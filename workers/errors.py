"""What can go wrong with jobs, queues and model hosts; knows nothing of HTTP."""

from __future__ import annotations


class WorkerError(Exception):
    """Root of everything that this package raises on purpose."""

    code = "worker_error"


class SettingsWrong(WorkerError):
    """An environment variable has a value that can't be used; the message names it."""

    code = "settings_wrong"


class QueueUnavailable(WorkerError):
    """Redis or the broker can't be reached; nothing was stored."""

    code = "queue_unavailable"


class JobNotFound(WorkerError):
    """No job with this id was ever submitted, or its record has expired."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}: the id is unknown or its record has expired.")
        self.job_id = job_id


class JobNotCancellable(WorkerError):
    """The job is running or has ended, so it can't be taken back any more."""

    code = "job_not_cancellable"

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"Job {job_id} is {state}; only queued jobs can be cancelled.")
        self.job_id = job_id
        self.state = state


class JobArgumentsWrong(WorkerError):
    """The arguments of a `predict` call are not (endpoint_name, input) or inputs=[…]."""

    code = "job_arguments_wrong"


class HostStartFailed(WorkerError):
    """A model host could not be started or could not load its model."""

    code = "host_start_failed"


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


class PredictionTimedOut(JobFailed):
    """The prediction took longer than the deployment's `timeout_s`."""

    code = "prediction_timed_out"


class EndpointUndeployed(JobFailed):
    """The endpoint was undeployed with `backlog: reject` while the job was queued."""

    code = "endpoint_undeployed"
