"""What requests about jobs contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, RootModel

from api.http.schema import MAX_JOBS_LISTED, Answer, EndpointFilter, EndpointName, JobId, RequestSchema
from api.predictions.schemas import Outcome, QueuePlace
from workers.jobs.on_loop import lookups
from workers.jobs.query import JobState
from workers.queues.priorities import Priority


class JobCancel(RequestSchema):
    """Parameters of `DELETE /jobs/<id>`."""

    force: bool = Field(
        default=False,
        description="Also cancel a running job. For an operator, its model host is stopped at once; for a client "
        "only if the host runs nothing else, and not often.",
    )


class JobWait(RequestSchema):
    """Parameters of `GET /jobs/<id>` and `POST /jobs/lookup`."""

    wait: float = Field(default=0, ge=0, allow_inf_nan=False, description="Seconds to wait for the job's end.")


class JobEvents(RequestSchema):
    """Parameters of `GET /jobs/<id>/events`."""

    ticket: str | None = Field(default=None, description="The ticket in a link from `POST /jobs/<id>/events-link`.")


class EventsLinkQuery(RequestSchema):
    """Parameters of `POST /jobs/<id>/events-link`."""

    expires_in: float = Field(
        default=3_600, ge=1, le=86_400, description="Seconds during which the link can be opened any number of times."
    )


class JobLookUp(RequestSchema):
    """Which jobs to show."""

    job_ids: list[JobId] = Field(min_length=1, max_length=lookups.MAX_JOBS)


class JobList(RequestSchema):
    """Parameters of `GET /jobs`."""

    endpoint_name: EndpointFilter | None = None
    status: JobState | None = None
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)


class DeadLetterList(RequestSchema):
    """Parameters of `GET /dead-letters`."""

    endpoint_name: EndpointFilter | None = None
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)


class Replay(RequestSchema):
    """Where to send a dead letter again."""

    endpoint_name: EndpointName | None = Field(default=None, description="The endpoint of the original job by default.")


class JobError(Answer):
    """Why a job failed; `code` is stable."""

    code: str
    type: str
    message: str
    traceback: str | None = Field(
        default=None,
        description="The last lines of the traceback of the model's code, if it has raised: only in `GET /jobs/<id>`.",
    )


class FailedAttempt(Answer):
    """An attempt without a result: its host or worker was lost."""

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
    priority: Priority = Field(description="The priority of a replay.")
    failures: list[FailedAttempt]


class DeadLetter(DeadLetterSummary):
    """The same with its original input: `input`, or `inputs` for a list of them."""

    input: Any = None
    inputs: list[Any] | None = None


class DeadLetters(Answer):
    """Jobs that were given up, newest first."""

    dead_letters: list[DeadLetterSummary]


class JobDocument(Answer):
    """A job: its state, and its outcome once it has one."""

    job_id: str
    endpoint_name: str
    status: JobState
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    not_before: datetime | None = Field(description="A queued job does not run before this time: Celery's eta.")
    owner: str | None = Field(description="The name of the API key that it was submitted with.")
    priority: Priority
    queue: QueuePlace | None = Field(description="The queue position, while it is queued.")
    attempts: int
    failures: list[FailedAttempt] = Field(description="Attempts whose host or worker was lost.")
    outcome: Outcome | None
    outcome_omitted: bool = Field(
        default=False, description="In a list: whether a long outcome was left out; `GET /jobs/<id>` returns it."
    )
    error: JobError | None


class JobEventStream(RootModel[str]):
    """Server-sent events, each named after a state, with the job as JSON in its `data`; the last one is its end."""


class EventsLink(Answer):
    """A link to a job's events that needs no key."""

    url: str = Field(description="Its `ticket` is valid for this job's events alone.")
    expires_at: datetime


class Jobs(Answer):
    """Recent jobs, newest first."""

    jobs: list[JobDocument]


class JobsLookedUp(Jobs):
    """The requested jobs, in the order of the request."""

    unknown_job_ids: list[str] = Field(description="Never submitted, or their records have expired.")
    left_job_ids: list[str] = Field(description="Left out because the response is long enough; request them again.")
