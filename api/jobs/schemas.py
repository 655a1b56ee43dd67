"""What requests about jobs contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import ConfigDict, Field, RootModel, model_validator

from api.http.schema import MAX_JOBS_LISTED, Answer, EndpointFilter, EndpointName, JobId, RequestSchema
from api.predictions.schemas import Outcome, QueuePlace
from workers.jobs.dead_letters import Kind as LetterKind
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


class CancelQueued(RequestSchema):
    """Which queued jobs to cancel."""

    endpoint_name: EndpointFilter
    older_than_s: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="Only jobs that were submitted at least so long ago, in s."
    )
    delayed: bool = Field(
        default=False, description="Also delayed jobs (Celery's `eta`), which wait for their time and not in the queue."
    )
    dry_run: bool = Field(default=False, description="Only count the jobs.")
    cursor: int = Field(default=0, ge=0, le=2**64 - 1, description="Where the answer before this one has ended.")


class CancelledQueued(Answer):
    """How many jobs one request has found and cancelled."""

    matched_count: int = Field(description="The queued jobs that were meant.")
    cancelled_count: int = Field(description="Those of them that are cancelled now; others have begun meanwhile.")
    cursor: int | None = Field(
        description="Send the same request again with this to continue; null once all jobs were looked at."
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
    kind: LetterKind = Field(
        default=LetterKind.GIVEN_UP, description="`failed` lists the failed jobs whose inputs are kept instead."
    )
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)


class Replay(RequestSchema):
    """Where to send a dead letter again."""

    endpoint_name: EndpointName | None = Field(default=None, description="The endpoint of the original job by default.")


def _not_both(schema: dict[str, Any]) -> None:
    """Describe in a JSON schema what the validator of `Retry` checks."""
    schema["not"] = {"required": ["input", "inputs"]}


class Retry(RequestSchema):
    """What to change when a failed job is run again: nothing by default."""

    model_config = ConfigDict(json_schema_extra=_not_both)

    input: Any = Field(default=None, description="An edited input in place of the one that is kept.")
    inputs: list[Any] | None = Field(default=None, min_length=1, description="The same for a job with several inputs.")
    endpoint_name: EndpointName | None = Field(default=None, description="The endpoint of the failed job by default.")

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if {"input", "inputs"} <= self.model_fields_set:
            raise ValueError('must have at most one of "input" and "inputs"')
        return self

    @property
    def rows(self) -> dict[str, Any]:
        """The edited input(s) as the keyword that job submission takes; empty if there are none."""
        if self.inputs is not None:
            return {"inputs": self.inputs}
        return {"input": self.input} if "input" in self.model_fields_set else {}


class KeptInput(Answer):
    """The input of a failed job: `input`, or `inputs` for a list of them."""

    input: Any = None
    inputs: list[Any] | None = None


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
    """A job that was given up, or has failed."""

    job_id: str
    endpoint_name: str
    kind: LetterKind = Field(
        description="`given_up`: every attempt lost its host or worker; kept until it is replayed or discarded. "
        "`failed`: it failed otherwise, and its deployment has `keep_failed_inputs`; kept as long as its record."
    )
    reason: str = Field(description="Why it failed, or its last attempt was lost.")
    submitted_at: datetime | None
    given_up_at: datetime = Field(description="When it was given up, or failed.")
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


class StepStatus(StrEnum):
    """Where a step stands: as a job, or before and beside that."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNREADABLE = "unreadable"
    SKIPPED = "skipped"


class StepDocument(Answer):
    """A step of a pipeline."""

    endpoint_name: str
    job_id: str
    status: StepStatus = Field(
        description="`waiting` for the step before it, or for room in its queue; `skipped` if the pipeline has ended "
        "before; otherwise that of its job."
    )
    started_at: datetime | None
    finished_at: datetime | None
    outcome: Outcome | None = Field(description="Only in `GET /jobs/<id>`, for as long as the step's own record lives.")
    error: JobError | None


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
    sticky_key: str | None = Field(
        default=None, description="During a rollout, jobs with the same key are answered by the same version."
    )
    queue: QueuePlace | None = Field(description="The queue position, while it is queued.")
    attempts: int
    failures: list[FailedAttempt] = Field(description="Attempts whose host or worker was lost.")
    outcome: Outcome | None
    outcome_omitted: bool = Field(
        default=False, description="In a list: whether a long outcome was left out; `GET /jobs/<id>` returns it."
    )
    error: JobError | None
    steps: list[StepDocument] | None = Field(
        default=None, description="Of a pipeline: its steps, each a job of its own with its id."
    )
    pipeline_id: str | None = Field(default=None, description="Of a step: the pipeline that it belongs to.")


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
