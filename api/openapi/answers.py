"""What answers look like, for the OpenAPI document: those about jobs in `job_answers`, requests in `api.schemas`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from registry.roles import Role


class Answer(BaseModel):
    """What any answer is."""

    #: Clients must be ready for members that a later release adds.
    model_config = ConfigDict(extra="allow")


class Problem(Answer):
    """An error (RFC 9457); `code` is stable, `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class FieldOfProblem(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class InvalidRequest(Problem):
    """A request whose fields, or whose input, can't be accepted."""

    field: str | None = Field(default=None, description="Where, e.g. `inputs[3][1]`.")
    expected: Any = None
    received: Any = None
    errors: list[FieldOfProblem] | None = None


class ApiKeyView(Answer):
    """An API key without its text."""

    key_id: str = Field(description="How its text begins.")
    name: str
    role: Role
    endpoint_names: list[str] | None = Field(description="The only endpoints that it may use.")
    rate_limit_per_s: float | None
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class NewApiKey(ApiKeyView):
    """A new API key."""

    key: str = Field(description="Its text, which nobody can find out later.")


class ApiKeys(Answer):
    """API keys by name."""

    keys: list[ApiKeyView]


class DeploymentView(Answer):
    """A deployment: what is desired, and what the workers report."""

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
    oldest_job_age_s: float | None
    revision: int


class Deployments(Answer):
    """Deployments by name."""

    deployments: list[DeploymentView]


class VersionView(Answer):
    """One immutable version of a model."""

    model_name: str
    version: str
    runtime: str
    runtime_options: dict[str, Any]
    signature: dict[str, Any]
    input_schema: dict[str, Any] = Field(description="The signature as JSON Schema.")
    input_example: Any
    metadata: dict[str, Any]
    artifact_sha256: str
    artifact_size_bytes: int
    created_at: datetime


class ModelSummary(Answer):
    """A model and how many versions it has."""

    name: str
    latest_version: str | None
    version_count: int
    created_at: datetime


class ModelView(ModelSummary):
    """A model and its versions, oldest first."""

    versions: list[VersionView]


class Models(Answer):
    """Models by name."""

    models: list[ModelSummary]


class Stats(Answer):
    """Counts over the registry."""


class Document(Answer):
    """This document."""


class Metrics(RootModel[str]):
    """Metrics in Prometheus's text format."""


class Live(Answer):
    """The process answers."""

    status: str


class Part(Answer):
    """One service that requests need."""

    status: str
    answered_in_ms: float | None = None
    code: str | None = None
    detail: str | None = None


class Ready(Answer):
    """Whether requests can be answered now, and each part of it."""

    status: str
    parts: dict[str, Part]
