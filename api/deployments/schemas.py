"""What requests about deployments contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from api.http.schema import NULL, TEXT, Answer, EndpointName, Name, RequestSchema, Revision, VersionName
from registry.serving_settings import ServingSettings


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
        description="Queued jobs are finished (drain), are cancelled (reject), or wait for the next deploy (park).",
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
