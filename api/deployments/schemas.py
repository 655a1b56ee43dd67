"""What requests about deployments contain, and what is answered."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from api.http.schema import NULL, TEXT, Answer, EndpointName, Name, RequestSchema, Revision, VersionName
from registry.serving_settings import ServingSettings

_UNITS_S = {"m": 60, "h": 3_600}
#: From 1m to 24h, which is 1440m.
_SINCE = "([1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m|([1-9]|1[0-9]|2[0-4])h"


class Deploy(ServingSettings):
    """What to deploy, under which endpoint name, with which serving settings."""

    model_name: Name
    version: VersionName | None = Field(default=None, description="The latest registered one by default.")
    endpoint_name: EndpointName | None = Field(default=None, description="`<model_name>-v<version>` by default.")
    worker_group: Name | None = Field(
        default=None, description="The group of workers that serves it; `default` by default."
    )
    revision: Revision | None = Field(
        default=None, description="Only if the deployment still has this revision; 0: only if there is none yet."
    )

    @property
    def settings(self) -> dict[str, Any] | None:
        """The serving settings that the request names; None if it names none."""
        named = self.model_dump(include=set(ServingSettings.model_fields) & self.model_fields_set)
        return named or None


class Undeploy(RequestSchema):
    """Which deployments to take down, and what happens to queued jobs."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["endpoint_name"],
                    "properties": {"endpoint_name": TEXT, "model_name": NULL, "version": NULL},
                },
                {
                    "required": ["model_name"],
                    "properties": {"endpoint_name": NULL, "model_name": TEXT, "revision": NULL},
                },
            ]
        }
    )

    endpoint_name: EndpointName | None = None
    model_name: Name | None = None
    version: VersionName | None = Field(default=None, description="Every deployed version of the model by default.")
    backlog: Literal["drain", "reject", "park"] = Field(
        default="drain",
        description="Queued jobs are finished (drain), fail (reject), or wait for the next deploy (park).",
    )
    revision: Revision | None = Field(
        default=None, description="Of an endpoint: only if the deployment still has this revision."
    )

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> Self:
        if (self.endpoint_name is None) == (self.model_name is None):
            raise ValueError('must have exactly one of "endpoint_name" and "model_name"')
        if self.version is not None and self.model_name is None:
            raise ValueError('can have "version" only together with "model_name"')
        if self.revision is not None and self.endpoint_name is None:
            raise ValueError('can have "revision" only together with "endpoint_name"')
        return self


class DeploymentView(Answer):
    """A deployment: its desired row, and what the workers report."""

    endpoint_name: str
    model_name: str
    version: str
    status: str = Field(description="deploying, active, degraded, draining, failed or parked.")
    reason: str | None = None
    workers: list[dict[str, Any]]
    worker_group: str
    settings: dict[str, Any]
    deployed_at: datetime
    updated_at: datetime
    request_count: int
    avg_latency_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    queue_depth: int
    queue_bytes: int = Field(description="Bytes of the messages of unfinished jobs; `max_queue_bytes` is their limit.")
    oldest_job_age_s: float | None
    delayed_count: int = Field(
        description="Delayed jobs, which wait outside of the queue until their time (Celery's eta)."
    )
    next_due_at: datetime | None = Field(description="When the next delayed job is due.")
    revision: int


class Deployments(Answer):
    """Deployments by name."""

    deployments: list[DeploymentView]


def _within_a_day(since: str) -> str:
    if not re.fullmatch(_SINCE, since):
        raise ValueError("must be a number with the unit m or h, from 1m to 24h")
    return since


class StatsQuery(RequestSchema):
    """Parameters of `GET /deployments/<endpoint_name>/stats`."""

    since: Annotated[str, AfterValidator(_within_a_day)] = Field(
        default="1h",
        json_schema_extra={"pattern": f"^({_SINCE})$"},
        description="How far back, from `1m` to `24h`: a number with the unit m or h. Up to `1h` each bucket is a "
        "minute, beyond it ten minutes.",
    )

    @property
    def since_s(self) -> int:
        """The same in seconds."""
        return int(self.since[:-1]) * _UNITS_S[self.since[-1]]


class DeploymentFigures(Answer):
    """What ended in some time, how long it took, and how many jobs waited.

    Quantiles are at most a tenth off. They are null if no job has that time.
    """

    jobs: int = Field(description="Jobs that ended: `succeeded`, `failed` and `withdrawn`.")
    succeeded: int = Field(description="Jobs that ended with an outcome.")
    failed: int = Field(description="Jobs that ended with an error.")
    withdrawn: int = Field(description="Jobs that were cancelled or expired.")
    total_p50_ms: float | None = Field(description="Median of whole-job time (ms): from submit to end.")
    total_p95_ms: float | None = Field(description="95th percentile of whole-job time (ms).")
    queued_p50_ms: float | None = Field(description="Median of the time from submit to the start of the batch (ms).")
    queued_p95_ms: float | None = Field(description="95th percentile of that time (ms).")
    predict_p50_ms: float | None = Field(description="Median of the model host's time for the job's batch (ms).")
    predict_p95_ms: float | None = Field(description="95th percentile of that time (ms).")
    queue_depth: int | None = Field(
        description="The most jobs that waited, in the queue or in a worker, at the samples of each minute; null if no "
        "worker was running to take one."
    )


class DeploymentFiguresOfStep(DeploymentFigures):
    """The figures of one step of time."""

    at: datetime = Field(description="When the step begins.")


class DeploymentStats(Answer):
    """A deployment's figures over time; those of an undeployed endpoint stay for a day."""

    endpoint_name: str = Field(description="The endpoint.")
    since_s: int = Field(description="How far back the figures go (s).")
    step_s: int = Field(description="The length of each bucket (s): 60 up to an hour, 600 beyond.")
    summary: DeploymentFigures = Field(description="All buckets together.")
    buckets: list[DeploymentFiguresOfStep] = Field(
        description="The figures of each step, oldest first, also of steps without a job. The last one is not over yet."
    )
