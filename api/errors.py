"""The errors of the API itself, and the HTTP status of every domain error. Must not know Flask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import registry.errors as registry_errors
import workers.errors as worker_errors
from workers.jobs import weights


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field of a request."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else f"The body {self.message}"


class ApiError(Exception):
    """Root of the errors of this package; `extras` are members of the response's body."""

    code = "api_error"

    def __init__(self, message: str, extras: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.extras = dict(extras or {})


class SettingsWrong(ApiError):
    """An environment variable has a value that can't be used; the message names it."""

    code = "settings_wrong"


class AddressTaken(ApiError):
    """The server can't listen where it should."""

    code = "address_taken"


class JsonInvalid(ApiError):
    """The body is not JSON, or JSON that no program can rely on."""

    code = "json_invalid"


class MediaTypeWrong(ApiError):
    """The body has to be of another kind."""

    code = "media_type_wrong"


class RequestMalformed(ApiError):
    """The body's bytes are not what its headers say."""

    code = "request_malformed"


class BodyTooLarge(ApiError):
    """The body has more bytes than its address takes."""

    code = "body_too_large"

    def __init__(self, most_bytes: int, message: str = "The body is larger than this address takes.") -> None:
        super().__init__(f"{message} It takes {most_bytes} bytes.")


class ServerBusy(ApiError):
    """This API process answers the most requests that it answers at once, and enough of them wait."""

    code = "server_busy"

    def __init__(self) -> None:
        super().__init__("This API process has more requests than it can answer. Try again after Retry-After.")


class RequestInvalid(ApiError):
    """Fields are missing, unknown or of the wrong kind; names each of them."""

    code = "request_invalid"

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__(
            "; ".join(str(problem) for problem in problems) + ".",
            {
                "field": problems[0].field,
                "errors": [{"field": each.field, "message": each.message} for each in problems],
            },
        )

    @classmethod
    def of(cls, field: str, message: str) -> RequestInvalid:
        """Return the error about one field."""
        return cls([FieldProblem(field, message)])


class EndpointNotDeployed(ApiError):
    """Nothing takes new jobs under this name."""

    code = "endpoint_not_deployed"


class EndpointFailed(ApiError):
    """No version of the endpoint could be loaded since it was deployed, so no job of it would ever run."""

    code = "endpoint_failed"

    def __init__(self, endpoint_name: str, reason: str) -> None:
        super().__init__(
            f"Endpoint {endpoint_name!r} takes no jobs: its first deploy failed, so nothing would run them. {reason} "
            "Deploy a version that can be loaded; workers also try this one again.",
            {"endpoint_name": endpoint_name, "reason": reason},
        )


class ComeBackLater(ApiError):
    """A limit is reached at the moment; `retry_after_s` is when to try again."""

    code = "too_much"

    def __init__(self, message: str, extras: Mapping[str, Any], retry_after_s: int) -> None:
        super().__init__(message, {**extras, "retry_after_s": retry_after_s})
        self.retry_after_s = retry_after_s


class TooManyJobs(ComeBackLater):
    """The endpoint's queue is full; `retry_after_s` is when there will be room, as it is served now."""

    code = "queue_full"


class TooManyRequests(ComeBackLater):
    """The API key has reached its requests per second."""

    code = "rate_limited"


class TooManyForms(ComeBackLater):
    """This API process is reading the most forms that it reads at once without a key."""

    code = "too_many_forms"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} browsers are logging in at this moment. Try again in a few seconds.",
            {"max_forms": limit},
            retry_after_s=5,
        )


class TooManyStreams(ComeBackLater):
    """This API process, or one of its clients, has the most event streams open that it may have."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Too many event streams are open. All clients together may open {limit} here, one client at most "
            f"{weights.OF_FREE} times as many as are free. Try again after Retry-After, or poll the job meanwhile.",
            {"max_event_streams": limit},
            retry_after_s=5,
        )


class KeyMissing(ApiError):
    """The request carries no API key."""

    code = "api_key_missing"

    def __init__(self) -> None:
        super().__init__(
            "This API needs a key in each request: send the header `Authorization: Bearer qc_…`. "
            "The operator of the service makes one with `queuecast keys create`."
        )


class KeyRefused(ApiError):
    """The request's API key is unknown or revoked."""

    code = "api_key_invalid"

    def __init__(self, *, is_needed: bool = True) -> None:
        rest = "" if is_needed else " This API asks for none: a request without a key is answered."
        super().__init__(f"This API key is unknown or revoked. Ask the operator of the service for a new one.{rest}")


class TicketRefused(ApiError):
    """The ticket of a link to a job's events is unknown, expired, or for another job."""

    code = "ticket_invalid"

    def __init__(self) -> None:
        super().__init__(
            "This link to a job's events is invalid or has expired. "
            "Ask for another one: POST /jobs/<id>/events-link, with an API key."
        )


class LoginNeeded(ApiError):
    """The browser has no session at the console, or it has ended."""

    code = "login_needed"

    def __init__(self) -> None:
        super().__init__("Log in with an API key to see this.")


class FormRefused(ApiError):
    """A form of the console was sent by another site, or is older than the browser's session."""

    code = "form_refused"


class RoleInsufficient(ApiError):
    """The API key's role may not do this."""

    code = "role_insufficient"


class EndpointForbidden(ApiError):
    """The API key may not use this endpoint."""

    code = "endpoint_forbidden"


class KeysNeeded(ApiError):
    """Others than this machine's own programs can reach the API, and no keys protect it."""

    code = "api_keys_needed"


class IdempotencyKeyInvalid(ApiError):
    """The Idempotency-Key header is empty or too long."""

    code = "idempotency_key_invalid"


class WebhooksNotSetUp(ApiError):
    """A callback was asked for, and this service can sign none."""

    code = "webhooks_not_set_up"

    def __init__(self, field: str) -> None:
        super().__init__(
            "This service sends no webhooks: its operator must set QUEUECAST_WEBHOOK_SECRETS and "
            "QUEUECAST_WEBHOOK_HOSTS for its API and its background process (queuecast docs webhooks).",
            {"field": field},
        )


class CallbackRefused(ApiError):
    """No webhook may be sent to this callback URL."""

    code = "callback_refused"


class DeploymentUnconfirmed(ApiError):
    """The registry has the change, but Redis can't be reached: the workers learn of it later."""

    code = "deployment_unconfirmed"


class DeploymentFailed(ApiError):
    """The workers could not load the version, within the requested wait."""

    code = "deployment_failed"


class JobUnsuccessful(ApiError):
    """A job that the caller waited for ended without an outcome."""

    code = "job_unsuccessful"


class PredictionFailed(JobUnsuccessful):
    """The job failed: the model raised, or its host died."""

    code = "prediction_failed"


class JobWithdrawn(JobUnsuccessful):
    """The job was cancelled, or expired, while the caller waited for it."""

    code = "job_withdrawn"


class JobUnfinished(ApiError):
    """The wait is over and the job has not ended; `job_id` leads to its outcome later."""

    code = "job_unfinished"


class DeploymentUnready(ApiError):
    """The wait is over, and no worker has loaded the version yet."""

    code = "deployment_unready"


class Unsupported(ApiError):
    """A part of the protocol that this server doesn't have."""

    code = "unsupported"


#: The only place that knows the HTTP status of a domain error; the nearest class counts.
STATUS: Mapping[type[Exception], int] = {
    JsonInvalid: 400,
    MediaTypeWrong: 415,
    RequestMalformed: 400,
    BodyTooLarge: 413,
    ServerBusy: 503,
    RequestInvalid: 422,
    EndpointNotDeployed: 404,
    EndpointFailed: 409,
    ComeBackLater: 429,
    KeyMissing: 401,
    KeyRefused: 401,
    TicketRefused: 401,
    LoginNeeded: 401,
    FormRefused: 403,
    RoleInsufficient: 403,
    EndpointForbidden: 403,
    KeysNeeded: 403,
    IdempotencyKeyInvalid: 422,
    WebhooksNotSetUp: 422,
    CallbackRefused: 422,
    DeploymentUnconfirmed: 503,
    DeploymentFailed: 409,
    PredictionFailed: 500,
    JobWithdrawn: 409,
    JobUnfinished: 504,
    DeploymentUnready: 503,
    Unsupported: 501,
    registry_errors.NameInvalid: 422,
    registry_errors.ApiKeyInvalid: 422,
    registry_errors.ApiKeyExists: 409,
    registry_errors.ApiKeyNotFound: 404,
    registry_errors.SubscriptionNotFound: 404,
    registry_errors.SettingsInvalid: 422,
    registry_errors.SignatureInvalid: 422,
    registry_errors.InputInvalid: 422,
    registry_errors.ArchiveInvalid: 422,
    registry_errors.MlflowFolderInvalid: 422,
    registry_errors.RuntimeUnknown: 422,
    registry_errors.RuntimeUndetected: 422,
    registry_errors.RuntimeUnavailable: 501,
    registry_errors.ModelLoadFailed: 422,
    registry_errors.EnvironmentsOff: 422,
    registry_errors.EnvironmentInvalid: 422,
    registry_errors.EnvironmentUnresolvable: 422,
    registry_errors.OutputInvalid: 422,
    registry_errors.ModelNotFound: 404,
    registry_errors.VersionNotFound: 404,
    registry_errors.DeploymentNotFound: 404,
    registry_errors.VersionExists: 409,
    registry_errors.VersionInUse: 409,
    registry_errors.VersionAliased: 409,
    registry_errors.VersionEvaluated: 409,
    registry_errors.EvaluationNotFound: 404,
    registry_errors.EvaluationRefused: 409,
    registry_errors.EvaluationChanged: 409,
    registry_errors.EvaluationUnfinished: 409,
    registry_errors.AliasNotFound: 404,
    registry_errors.AliasChanged: 409,
    registry_errors.AliasInUse: 409,
    registry_errors.VersionJudged: 409,
    registry_errors.TrialActive: 409,
    registry_errors.TrialRefused: 409,
    registry_errors.CandidateGone: 409,
    registry_errors.RolloutNotFound: 404,
    registry_errors.RolloutRefused: 409,
    registry_errors.ShadowNotFound: 404,
    registry_errors.TagsInvalid: 422,
    registry_errors.PruneRefused: 409,
    registry_errors.DeploymentChanged: 409,
    registry_errors.DeploymentUndeployed: 409,
    registry_errors.RevisionNotFound: 404,
    registry_errors.RollbackRefused: 409,
    registry_errors.ArtifactMissing: 503,
    registry_errors.ArtifactDamaged: 503,
    registry_errors.ArtifactStoreUnavailable: 503,
    registry_errors.RegistryUnavailable: 503,
    registry_errors.RegistryFull: 507,
    registry_errors.ArtifactStoreFull: 507,
    worker_errors.JobNotFound: 404,
    worker_errors.DeadLetterNotFound: 404,
    worker_errors.DeliveryNotFound: 404,
    worker_errors.QueueFull: 429,
    worker_errors.BulkTooLarge: 422,
    worker_errors.IdempotencyConflict: 422,
    worker_errors.JobNotCancellable: 409,
    worker_errors.JobUnreadable: 409,
    worker_errors.JobNotFailed: 409,
    worker_errors.InputNotKept: 409,
    worker_errors.JobArgumentsWrong: 422,
    worker_errors.TargetRefused: 422,
    worker_errors.JournalBusy: 503,
    worker_errors.JournalFull: 503,
    worker_errors.QueueUnavailable: 503,
}


def status_of(error: Exception) -> int:
    """Return the HTTP status of a domain error; 500 for one not caused by the client and not fixable by it."""
    return next((STATUS[each] for each in type(error).__mro__ if each in STATUS), 500)


def extras_of(error: Exception) -> dict[str, Any]:
    """Return the members of the response's body besides the message: the error's own plain attributes."""
    if isinstance(error, ApiError):
        return error.extras
    return {
        name: value
        for name, value in vars(error).items()
        if not name.startswith("_") and isinstance(value, (str, int, float, list, tuple, dict, type(None)))
    }
