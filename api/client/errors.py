"""What can go wrong at a client of the service; imports nothing, so that any program can catch it.

`api.errors` is what the server raises, and knows its registry and its queues. Here stands how their answers are
told apart at the other end: by `code`, which is stable, and else by status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Root of everything that the client raises on purpose.

    Attributes:
        code: stable, for programs; of the server where it has answered.
        status: the HTTP status of its answer, None without one.
        problem: the whole answer (problem+json).
        request_id: what the server's log has this under.
        index: of `map`, the number of the input, from 0.
        job_id: the job that this is about, if it is about one.
    """

    code = "client_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.status = status
        self.problem = dict(problem or {})
        self.request_id = request_id
        self.index: int | None = None
        self.job_id: str | None = self.problem.get("job_id")


class SettingsWrong(ClientError):
    """An argument or an environment variable has a value that can't be used."""

    code = "settings_wrong"


class InputNotJson(ClientError):
    """An input has something in it that JSON can't say, such as infinity or bytes."""

    code = "input_not_json"


class ServiceUnreachable(ClientError):
    """Nothing answers at the service's URL, or not in time."""

    code = "service_unreachable"


class AnswerUnreadable(ClientError):
    """What answers is not Queuecast."""

    code = "answer_unreadable"


class RequestRefused(ClientError):
    """The service has answered with an error; the classes below are what programs tell apart most often."""

    code = "request_refused"

    @property
    def retry_after_s(self) -> float | None:
        """When the service will take it, where it has said so."""
        said = self.problem.get("retry_after_s")
        return None if said is None else float(said)


class RequestInvalid(RequestRefused):
    """A field, or the whole request, is not as it must be (400, 413, 415, 422)."""

    @property
    def field(self) -> str | None:
        """The place that is wrong, e.g. `input[2]`."""
        return self.problem.get("field")


class InputInvalid(RequestInvalid):
    """The input doesn't fit the model's signature; nothing was submitted."""


class AccessDenied(RequestRefused):
    """The API key is missing or unknown (401), or may not do this (403)."""


class NotFound(RequestRefused):
    """There is no such model, version, deployment, job (404)."""


class EndpointNotDeployed(NotFound):
    """Nothing takes new jobs under this name."""


class JobNotFound(NotFound):
    """The job is unknown, or its record has expired."""

    code = "job_not_found"


class Conflict(RequestRefused):
    """It is in a state that doesn't allow this (409)."""


class TooMuch(RequestRefused):
    """The queue is full, or there were too many requests (429), for longer than the call could wait."""


class ServiceUnavailable(RequestRefused):
    """The service can't answer now (502, 503, 504), for longer than the call could wait."""


class ServerFailed(RequestRefused):
    """Something went wrong in the service; its log has it under `request_id`."""


class JobUnsuccessful(ClientError):
    """A job has ended without an outcome; `code` is the reason's, `problem` is the job."""

    code = "job_unsuccessful"


class JobFailed(JobUnsuccessful):
    """The model raised, its host died, or it took too long."""

    code = "job_failed"


class JobCancelled(JobUnsuccessful):
    """It was taken back."""

    code = "job_cancelled"


class JobExpired(JobUnsuccessful):
    """Its time was over before it began."""

    code = "job_expired"


class JobUnfinished(ClientError):
    """It has no result yet: `wait()` for it."""

    code = "job_unfinished"


class DeploymentFailed(ClientError):
    """The workers could not load what was deployed; `problem` is the deployment."""

    code = "deployment_failed"


class WaitTimedOut(ClientError):
    """What was waited for did not happen in time; it goes on without us."""

    code = "wait_timed_out"


_BY_CODE: Mapping[str, type[RequestRefused]] = {
    "input_invalid": InputInvalid,
    "endpoint_not_deployed": EndpointNotDeployed,
    "job_not_found": JobNotFound,
}
_BY_STATUS: Mapping[int, type[RequestRefused]] = {
    400: RequestInvalid,
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    409: Conflict,
    413: RequestInvalid,
    415: RequestInvalid,
    422: RequestInvalid,
    429: TooMuch,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}
_BY_JOB_STATUS: Mapping[str, type[JobUnsuccessful]] = {
    "failed": JobFailed,
    "cancelled": JobCancelled,
    "expired": JobExpired,
}


def refusal(status: int, problem: Mapping[str, Any], request_id: str | None) -> RequestRefused:
    """Return the error that an answer says."""
    code = str(problem.get("code") or "")
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (ServerFailed if status >= 500 else RequestRefused)
    message = str(problem.get("detail") or problem.get("title") or f"The service answered with status {status}.")
    return kind(message, code=code or None, status=status, problem=problem, request_id=request_id)


def unsuccessful(job: Mapping[str, Any]) -> JobUnsuccessful:
    """Return the error that the job's end is; `job` as the API shows it."""
    status, error = str(job.get("status")), job.get("error") or {}
    why = f": {error['message']}" if error.get("message") else "."
    kind = _BY_JOB_STATUS.get(status, JobUnsuccessful)
    return kind(f"Job {job.get('job_id')} is {status}{why}", code=error.get("code"), problem=job)
