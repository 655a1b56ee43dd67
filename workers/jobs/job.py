"""What a job is, whatever its state: the options of its client, and the facts that its message and records repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypedDict, TypeGuard

import msgspec

from workers.errors import JobArgumentsWrong
from workers.queues.priorities import Priority


class Failure(TypedDict):
    """An attempt that had no answer: its host or its worker was lost."""

    attempt: int
    worker: str
    #: Seconds since the epoch.
    at: float
    reason: str


class JobOptions(NamedTuple):
    """What a client may ask of a job beside its input; None is what the call, the deployment or the default says."""

    #: The job expires if it has not started after this time.
    expires_in_s: float | None = None
    priority: Priority | None = None
    #: The URL that receives a webhook when the job ends (see `webhooks`).
    callback_url: str | None = None
    #: During a rollout, jobs with the same key are answered by the same version (see `queues.dealing`).
    sticky_key: str | None = None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> JobOptions:
        """Take those that Celery doesn't know out of the options of an `apply_async`; what is left is Celery's.

        Raises:
            JobArgumentsWrong: the sticky key is none.
        """
        taken = cls(**{name: options.pop(name) for name in _NOT_OF_CELERY & options.keys()})
        if taken.sticky_key is not None and not is_sticky_key(taken.sticky_key):
            raise JobArgumentsWrong(f"sticky_key must be a text of 1 to {MOST_STICKY_CHARACTERS} characters.")
        return taken

    def over(self, defaults: JobOptions) -> JobOptions:
        """Return these options, with the defaults in the place of those that are None."""
        if self is NO_OPTIONS:
            return defaults
        return JobOptions(
            defaults.expires_in_s if self.expires_in_s is None else self.expires_in_s,
            defaults.priority if self.priority is None else self.priority,
            defaults.callback_url if self.callback_url is None else self.callback_url,
            defaults.sticky_key if self.sticky_key is None else self.sticky_key,
        )


#: The most characters of a sticky key.
MOST_STICKY_CHARACTERS = 200
NO_OPTIONS = JobOptions()
#: Celery has its own `priority`, and `expires` for the other one.
_NOT_OF_CELERY = set(JobOptions._fields) - {"priority", "expires_in_s"}


def is_sticky_key(value: Any) -> TypeGuard[str]:
    """Whether a value is a text by which a rollout can deal jobs."""
    return isinstance(value, str) and 0 < len(value) <= MOST_STICKY_CHARACTERS


class JobFacts(Protocol):
    """What a record repeats of a job: a `Job`, a job that a worker holds, or one that was read from a record."""

    # Properties, so that frozen classes fit as well as those of the engine.
    @property
    def job_id(self) -> str:
        """The job's id."""

    @property
    def endpoint_name(self) -> str:
        """The endpoint that the job was submitted to."""

    @property
    def submitted_at(self) -> float | None:
        """Seconds since the epoch; None if unknown."""

    @property
    def expires_at(self) -> float | None:
        """Seconds since the epoch; None if the job does not expire."""

    @property
    def owner(self) -> str | None:
        """The name of the API key that submitted the job."""

    @property
    def priority(self) -> Priority:
        """How urgent the job is."""

    @property
    def sticky_key(self) -> str | None:
        """The key by which a rollout deals the job; None is its id."""

    @property
    def attempts(self) -> int:
        """How many times a host has been given the job."""

    @property
    def failures(self) -> Sequence[Failure]:
        """The attempts that ended with the loss of the host or the worker."""


class Job(msgspec.Struct, frozen=True):
    """A job; times in seconds since the epoch."""

    job_id: str
    endpoint_name: str
    #: None if a Celery program sent it without the header that says so.
    submitted_at: float | None
    #: It does not run after this time.
    expires_at: float | None = None
    #: It does not run before this time; None if it is not delayed.
    not_before: float | None = None
    #: The name of the API key that submitted it.
    owner: str | None = None
    priority: Priority = Priority.NORMAL
    #: How many times a host has been given it, on any worker.
    attempts: int = 0
    #: The attempts that ended with the loss of the host or the worker.
    failures: Sequence[Failure] = ()
    #: The key by which a rollout deals it; None is its id.
    sticky_key: str | None = None

    @staticmethod
    def accepted(  # noqa: PLR0913, PLR0917 - what makes a job
        job_id: str,
        endpoint_name: str,
        submitted_at: float,
        expires_at: float | None,
        not_before: float | None,
        owner: str | None,
        options: JobOptions,
    ) -> Job:
        """Return a job that is being accepted with these options."""
        priority = options.priority or Priority.NORMAL
        sticky_key = options.sticky_key
        return Job(job_id, endpoint_name, submitted_at, expires_at, not_before, owner, priority, sticky_key=sticky_key)
