"""What answers about jobs look like, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, RootModel

from api.openapi.answers import Answer
from workers.jobs import JobState
from workers.priorities import Priority
from workers.webhooks.deliveries import DeliveryStatus


class QueuePlace(Answer):
    """Where a queued job is."""

    position: int = Field(description="How many unfinished jobs workers take before it, those that run included.")
    estimated_wait_s: float | None = Field(
        description="How long it will wait for a model host, at the measured pace; null if nobody can know."
    )
    reason: str | None = Field(description="Why there is no estimate: no_ready_worker, not_measured or parked.")


class Accepted(Answer):
    """A job that waits in its queue."""

    job_id: str
    status: JobState
    endpoint_name: str
    model_name: str | None = None
    version: str | None = None
    url: str = Field(description="Where its state and outcome are.")
    queue: QueuePlace | None = Field(description="Where it is in its queue, while it is queued.")


class AcceptedMany(Answer):
    """Jobs that wait in their queue."""

    job_ids: list[str] = Field(description="In the order of the request.")
    count: int
    endpoint_name: str
    model_name: str | None = None
    version: str | None = None
    url: str = Field(description="Where the endpoint's newest jobs are.")
    queue: QueuePlace | None = Field(description="Where the last of them is in its queue.")


class Timing(Answer):
    """Where the time went."""

    queued_ms: float
    predict_ms: float
    total_ms: float


class Outcome(Answer):
    """What the model answered: `prediction` for one input, `predictions` for a list."""

    prediction: Any = None
    predictions: list[Any] | None = None
    endpoint_name: str
    model_name: str
    version: str
    worker: str
    batch_size: int
    timing: Timing
    attempts: int


class OutcomeOfJob(Outcome):
    """The outcome of a prediction that was waited for."""

    job_id: str


class JobError(Answer):
    """Why a job failed; `code` is stable."""

    code: str
    type: str
    message: str


class FailedAttempt(Answer):
    """An attempt that had no answer, because its host or its worker was lost."""

    attempt: int
    worker: str
    at: datetime
    reason: str


class DeadLetterSummary(Answer):
    """A job that was given up."""

    job_id: str
    endpoint_name: str
    submitted_at: datetime | None
    given_up_at: datetime
    owner: str | None = Field(description="The name of the API key that it was submitted with.")
    priority: Priority = Field(description="As which it is sent again.")
    failures: list[FailedAttempt]


class DeadLetter(DeadLetterSummary):
    """The same with its original input: `input`, or `inputs` for a list of them."""

    input: Any = None
    inputs: list[Any] | None = None


class DeadLetters(Answer):
    """Jobs that were given up, newest first."""

    dead_letters: list[DeadLetterSummary]


class WebhookAttempt(Answer):
    """One try to deliver a webhook."""

    at: datetime
    status_code: int | None = Field(description="Of the receiver's answer, if there was one.")
    error: str | None = Field(description="Why it counts as not delivered.")
    duration_ms: float
    answer: str | None = Field(description="How the receiver's answer begins.")


class WebhookDelivery(Answer):
    """The webhook that tells a job's end, and what became of it."""

    job_id: str
    webhook_id: str = Field(description="The header `webhook-id`, the same at each attempt.")
    endpoint_name: str
    owner: str | None = Field(description="The name of the API key that the job was submitted with.")
    callback_url: str = Field(description="Without its query, in which tokens are.")
    status: DeliveryStatus
    created_at: datetime = Field(description="When the job ended.")
    next_attempt_at: datetime | None
    attempts: list[WebhookAttempt] = Field(description="The last 20, oldest first.")


class WebhookDeliveries(Answer):
    """Deliveries of webhooks, newest first."""

    deliveries: list[WebhookDelivery]


class JobDocument(Answer):
    """A job: its state, and its outcome once it has one."""

    job_id: str
    endpoint_name: str
    status: JobState
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    owner: str | None = Field(description="The name of the API key that it was submitted with.")
    priority: Priority
    queue: QueuePlace | None = Field(description="Where it is in its queue, while it is queued.")
    attempts: int
    failures: list[FailedAttempt] = Field(description="Attempts whose host or worker was lost.")
    outcome: Outcome | None
    error: JobError | None


class JobEventStream(RootModel[str]):
    """Server-sent events, each named after a state, with the job as JSON in its `data`; the last one is its end."""


class EventsLink(Answer):
    """Where a job's events can be read without a key."""

    url: str = Field(description="Its `ticket` is for this job's events and nothing else.")
    expires_at: datetime


class Jobs(Answer):
    """Recent jobs, newest first."""

    jobs: list[JobDocument]


class JobsLookedUp(Jobs):
    """The jobs that were asked for, in that order."""

    unknown_job_ids: list[str] = Field(description="Never submitted, or their records have expired.")
    left_job_ids: list[str] = Field(description="Not looked at, as there is enough in this answer; ask for them again.")
