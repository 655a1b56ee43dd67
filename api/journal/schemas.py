"""What requests about the journal contain, and what is answered."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from api.http.schema import Answer, RequestSchema

MOST_JOBS = 10_000
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _checked_moment(text: str) -> str:
    moment(text)
    return text


def moment(text: str) -> float:
    """Return a moment in seconds since the epoch: a time ago, or a time in ISO 8601. Raises ValueError."""
    if ago := _AGO.fullmatch(text):
        return max(0.0, time.time() - int(ago[1]) * _SECONDS[ago[2]])
    try:
        at = datetime.fromisoformat(text)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("should be a time ago, such as 24h or 30d, or a time such as 2026-11-30T08:00:00Z") from None


#: Times in ISO 8601 have more forms than this, which all are taken.
_TIME = r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
Moment = Annotated[
    str, AfterValidator(_checked_moment), Field(json_schema_extra={"pattern": f"^({_AGO.pattern}|{_TIME})$"})
]


class JournalQuery(RequestSchema):
    """Which jobs of the journal, and in what form."""

    since: Moment = Field(
        default="24h", description="Jobs that ended since: a time ago (`24h`, `30d`) or a time in ISO 8601."
    )
    until: Moment | None = Field(default=None, description="Jobs that ended before this; without it all until now.")
    format: Literal["ndjson", "parquet"] = Field(
        default="ndjson", description="One JSON object a line, or a Parquet file."
    )
    limit: int = Field(
        default=1_000,
        ge=1,
        le=MOST_JOBS,
        description="About how many jobs: those that ended in one step stay together, and large jobs end it earlier.",
    )
    cursor: str | None = Field(
        default=None,
        pattern="^[0-9]{1,19}-[0-9]{1,19}$",
        description="What the answer before this one had as `Queuecast-Cursor`, to go on behind it.",
    )


class Forget(RequestSchema):
    """Which jobs the journal is to forget: those to which all that is given applies."""

    job: str | None = Field(default=None, min_length=1, max_length=255, description="The job of this id.")
    owner: str | None = Field(default=None, min_length=1, max_length=255, description="Jobs of the API key's name.")
    before: Moment | None = Field(default=None, description="Jobs that ended before: a time ago, or in ISO 8601.")

    @model_validator(mode="after")
    def _has_condition(self) -> Self:
        if self.job is None and self.owner is None and self.before is None:
            raise ValueError("needs at least one of job, owner and before")
        return self


class Forgotten(Answer):
    """How many jobs were forgotten."""

    forgotten_count: int = Field(description="Jobs that were deleted from the journal.")
    forgotten_example_count: int = Field(
        description="Examples that were removed from reports and comparisons, and jobs from samples to replay."
    )


class JournalJob(Answer):
    """A job that has ended, as one line of NDJSON or one row of Parquet."""

    endpoint_name: str = Field(description="The endpoint.")
    job_id: str = Field(description="The job's id.")
    model_name: str = Field(description="The model that answered.")
    version: str = Field(description="The version that answered.")
    status: Literal["succeeded", "failed"] = Field(description="How it ended.")
    inputs: list[Any] = Field(description="Its rows, with a hash in the place of excluded fields. In Parquet: JSON.")
    many: bool = Field(description="Whether the rows came as `inputs`.")
    predictions: list[Any] | None = Field(description="One for each row; null if it has failed. In Parquet: JSON.")
    error_code: str | None = Field(description="The code of its error.")
    error_message: str | None = Field(
        description="The text of its error; null also if the deployment excludes fields, as the text may repeat them."
    )
    submitted_at: datetime | None = Field(description="When it was submitted.")
    started_at: datetime | None = Field(description="When its last attempt began.")
    finished_at: datetime = Field(description="When it ended.")
    queued_ms: float | None = Field(description="From submit to the start of its batch.")
    predict_ms: float | None = Field(description="Of the model host, for its batch.")
    total_ms: float | None = Field(description="From submit to end.")
    batch_size: int | None = Field(description="Rows of its batch.")
    attempts: int = Field(description="How many times a host was given it.")
    worker: str | None = Field(description="The worker that ended it.")
    owner: str | None = Field(description="The name of the API key that submitted it.")
    priority: str = Field(description="Its priority.")
    trace_id: str | None = Field(description="The trace that it belongs to.")
    sticky_key: str | None = Field(description="The key by which a rollout deals it.")


class JournalKept(Answer):
    """How much of an endpoint's jobs the journal keeps."""

    endpoint_name: str = Field(description="The endpoint.")
    journal: float = Field(description="Share of the jobs that are kept now.")
    journal_retention_days: int = Field(description="How many days a job is kept.")
    job_count: int = Field(description="Jobs in files.")
    file_count: int = Field(description="Files that they are in.")
    size_bytes: int = Field(description="Bytes of the files.")
    first_at: datetime | None = Field(description="When the first job in files ended.")
    last_at: datetime | None = Field(description="When the last job in files ended.")
    waiting_count: int = Field(description="Jobs that are not in files yet.")
    dropped_count: int = Field(description="Jobs that were left out because too many waited.")


class NewFeedback(RequestSchema):
    """What is right for a job."""

    truth: Any = Field(
        description="What is right: a label or a number; an object whose one field names a field of the prediction; of "
        "a job with several inputs, a list with one truth for each."
    )
    weight: float = Field(default=1.0, gt=0, le=1e9, allow_inf_nan=False, description="How much it counts.")


class FeedbackOfJob(NewFeedback):
    """What is right for one of many jobs."""

    job_id: str = Field(min_length=1, max_length=255, description="The job.")


class GivenFeedback(Answer):
    """Feedback that is stored; the latest on a job counts."""

    job_id: str = Field(description="The job.")
    endpoint_name: str = Field(description="Its endpoint.")


class ManyGiven(Answer):
    """What became of feedback on many jobs."""

    accepted_count: int = Field(description="Stored.")
    unknown_count: int = Field(description="Left out: the journal doesn't have these jobs, or they are another key's.")
    unknown_job_ids: list[str] = Field(description="The first 1,000 of these jobs.")
