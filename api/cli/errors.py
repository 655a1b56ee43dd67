"""What can go wrong on the command line, and the exit code of each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """How a `queuecast` command ends; scripts rely on these."""

    #: It did what was asked.
    OK = 0
    #: The service refused the request, or the job or deployment failed.
    FAILED = 1
    #: The command was wrong (click's own number).
    USAGE = 2
    #: The service can't be reached, or can't answer now: trying again may help.
    UNAVAILABLE = 3
    #: What was waited for did not happen in `--timeout`; it may still.
    TIMED_OUT = 4
    #: An evaluation shows that the candidate answers differently.
    DIFFERS = 5
    #: An evaluation shows that the candidate is worse.
    WORSE = 6
    #: An evaluation had too few jobs to decide.
    INCONCLUSIVE = 7


class CliError(Exception):
    """Root of what ends a command; `document` is what `--json` shows of it."""

    code = "cli_error"
    exit_code = ExitCode.FAILED

    def __init__(self, message: str, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.document = {"code": self.code, "detail": message, **(document or {})}


class ServiceUnreachable(CliError):
    """Nothing answers at the service's URL."""

    code = "service_unreachable"
    exit_code = ExitCode.UNAVAILABLE


class RequestRefused(CliError):
    """The service answered with an error; `document` is its problem+json."""

    code = "request_refused"

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or f"HTTP status {status}"), document)
        self.status = status
        if status in (429, 502, 503, 504):
            self.exit_code = ExitCode.UNAVAILABLE


class KeyNeeded(RequestRefused):
    """The service asks for an API key, and was shown none or one that it doesn't know."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(status, document)
        self.args = (f"{self.args[0]} --api-key or QUEUECAST_API_KEY give it to this command.",)


class JobUnsuccessful(CliError):
    """The job that was waited for has failed, was cancelled or expired."""

    code = "job_unsuccessful"


class DeploymentFailed(CliError):
    """The workers could not load what was deployed."""

    code = "deployment_failed"


class LimitExceeded(CliError):
    """A figure is over the limit, or a deployment has the status, that the command was asked to fail on."""

    code = "limit_exceeded"


class EvaluationFailed(CliError):
    """The evaluation has no report: a version can't be loaded, or it was cancelled."""

    code = "evaluation_failed"


class TimedOut(CliError):
    """What was waited for did not happen in time; it goes on without us."""

    code = "timed_out"
    exit_code = ExitCode.TIMED_OUT


class StartFailed(CliError):
    """`queuecast run` could not start the service."""

    code = "start_failed"
