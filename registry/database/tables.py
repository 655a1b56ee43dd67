"""The registry's tables; only this package reads or writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from registry.intent import Intent
from registry.names import (
    MAX_ALIAS_NAME_LENGTH,
    MAX_ENDPOINT_NAME_LENGTH,
    MAX_GROUP_NAME_LENGTH,
    MAX_KEY_NAME_LENGTH,
    MAX_MODEL_NAME_LENGTH,
    MAX_TAG_NAME_LENGTH,
    MAX_VERSION_NAME_LENGTH,
)
from registry.roles import Role


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, also on SQLite, which stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Attach UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_of(members: type[StrEnum], name: str) -> Enum:
    """A column of an enum's values, with a constraint in the database."""
    return Enum(
        members,
        native_enum=False,
        length=16,
        create_constraint=True,
        name=name,
        values_callable=lambda found: [each.value for each in found],
    )


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ModelRow(Table):
    """A model; `last_number` is the highest number of all its versions, including deleted ones."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(MAX_MODEL_NAME_LENGTH), primary_key=True)
    last_number: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EnvironmentRow(Table):
    """A locked environment, named by the digest of Python and lock; it is immutable, and versions share it."""

    __tablename__ = "environments"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    python: Mapped[str] = mapped_column(String(32))
    lock: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VersionRow(Table):
    """A version; it is immutable, except that it can be deleted, and its name stays reserved even then."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model_name", "version"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    model_name: Mapped[str] = mapped_column(ForeignKey("models.name"))
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    runtime: Mapped[str] = mapped_column(String(64))
    runtime_options: Mapped[dict[str, Any]] = mapped_column(JSON)
    signature: Mapped[dict[str, Any]] = mapped_column(JSON)
    input_example: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    #: SQLAlchemy reserves `metadata` on a table class.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    artifact_sha256: Mapped[str] = mapped_column(String(64), index=True)
    artifact_size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: The environment that it runs in; None is the worker's own. (No foreign key: SQLite can't add one to a table.)
    environment_sha256: Mapped[str | None] = mapped_column(String(64))


class DeploymentRow(Table):
    """The desired state of one endpoint; the row stays after an undeploy."""

    __tablename__ = "deployments"
    __table_args__ = (
        ForeignKeyConstraint(["model_name", "version"], ["model_versions.model_name", "model_versions.version"]),
    )

    endpoint_name: Mapped[str] = mapped_column(String(MAX_ENDPOINT_NAME_LENGTH), primary_key=True)
    model_name: Mapped[str] = mapped_column(String(MAX_MODEL_NAME_LENGTH), index=True)
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    worker_group: Mapped[str] = mapped_column(String(MAX_GROUP_NAME_LENGTH), index=True)
    intent: Mapped[Intent] = mapped_column(_one_of(Intent, "intent"))
    revision: Mapped[int]
    deployed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    #: A move of this alias of the model binds the endpoint to the alias's version.
    followed_alias: Mapped[str | None] = mapped_column(String(MAX_ALIAS_NAME_LENGTH))

    bound_version: Mapped[VersionRow] = relationship(lazy="joined", innerjoin=True, viewonly=True)
    candidate: Mapped[CandidateRow | None] = relationship(lazy="joined", uselist=False, viewonly=True)


class CandidateRow(Table):
    """The version under judgement beside the one that an endpoint serves: by a shadow or a rollout, which sets it."""

    __tablename__ = "candidates"
    __table_args__ = (
        ForeignKeyConstraint(["model_name", "version"], ["model_versions.model_name", "model_versions.version"]),
    )

    endpoint_name: Mapped[str] = mapped_column(ForeignKey("deployments.endpoint_name"), primary_key=True)
    #: The id of the shadow or the rollout.
    trial_id: Mapped[str] = mapped_column(String(32))
    model_name: Mapped[str] = mapped_column(String(MAX_MODEL_NAME_LENGTH))
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    #: The share of jobs that it answers (0 to 1).
    weight: Mapped[float] = mapped_column(Float)
    #: The share of the other version's jobs that it predicts as well, after their ends (0 to 1).
    shadow_share: Mapped[float] = mapped_column(Float)
    #: Which jobs it answers depends on this text and their keys.
    salt: Mapped[str] = mapped_column(String(32))
    #: Where a job runs again that fails here: `stable`, or nowhere (`fail`).
    on_failure: Mapped[str] = mapped_column(String(16))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)

    bound_version: Mapped[VersionRow] = relationship(lazy="joined", innerjoin=True, viewonly=True)


class EvaluationRow(Table):
    """A replay of an endpoint's jobs on a candidate version, and its report."""

    __tablename__ = "evaluations"
    __table_args__ = (Index(None, "endpoint_name"), Index(None, "state"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    endpoint_name: Mapped[str] = mapped_column(String(MAX_ENDPOINT_NAME_LENGTH))
    model_name: Mapped[str] = mapped_column(String(MAX_MODEL_NAME_LENGTH))
    #: The candidate.
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    #: The version that the endpoint serves when it is created.
    stable_version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    worker_group: Mapped[str] = mapped_column(String(MAX_GROUP_NAME_LENGTH))
    #: Which jobs: `since` and `until`, or the `dataset`.
    source: Mapped[dict[str, Any]] = mapped_column(JSON)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    progress: Mapped[dict[str, Any]] = mapped_column(JSON)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    verdict: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    #: None is a caller without an API key.
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: Grows by 1 with every change.
    revision: Mapped[int]
    #: The background process that works on it, and until when it has it alone.
    holder: Mapped[str | None] = mapped_column(String(64))
    held_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: The state of the comparison (see `workers.judging`), with which another process goes on.
    comparison: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    #: When its hosts, queues and records were removed, after its end.
    cleared_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: When the webhooks of its end were stored.
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class ShadowRow(Table):
    """A candidate that predicts jobs after their ends, and the report of it; the row stays when it is stopped."""

    __tablename__ = "shadows"
    __table_args__ = (Index(None, "endpoint_name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    endpoint_name: Mapped[str] = mapped_column(String(MAX_ENDPOINT_NAME_LENGTH))
    model_name: Mapped[str] = mapped_column(String(MAX_MODEL_NAME_LENGTH))
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    stable_version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    share: Mapped[float] = mapped_column(Float)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    #: The state of the comparison (see `workers.judging`), from which the report is made.
    comparison: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: Grows by 1 with every change.
    revision: Mapped[int]
    #: When the webhooks of its end were stored.
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class RolloutRow(Table):
    """A canary in steps; the row stays at its end."""

    __tablename__ = "rollouts"
    __table_args__ = (Index(None, "endpoint_name"), Index(None, "state"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    endpoint_name: Mapped[str] = mapped_column(String(MAX_ENDPOINT_NAME_LENGTH))
    model_name: Mapped[str] = mapped_column(String(MAX_MODEL_NAME_LENGTH))
    #: The candidate.
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    stable_version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    #: Weights in percent, growing.
    steps: Mapped[list[float]] = mapped_column(JSON)
    #: The index of the present step; -1 before the first.
    step: Mapped[int]
    min_jobs: Mapped[int]
    step_s: Mapped[float] = mapped_column(Float)
    rules: Mapped[dict[str, Any]] = mapped_column(JSON)
    on_failure: Mapped[str] = mapped_column(String(16))
    #: The evaluation that it begins with, if any.
    evaluation_id: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    #: What the last look at both versions has found.
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)
    #: The state of the comparison (see `workers.judging`).
    comparison: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    step_started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: Grows by 1 with every change.
    revision: Mapped[int]


class RolloutEventRow(Table):
    """What happened to a rollout: a step, a pause, its end."""

    __tablename__ = "rollout_events"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), index=True)
    event: Mapped[str] = mapped_column(String(32))
    #: None is the background process, or a caller without an API key.
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    reason: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    happened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    #: When the webhooks of it were stored.
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class WebhookSubscriptionRow(Table):
    """A URL that gets webhooks of events."""

    __tablename__ = "webhook_subscriptions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    #: The kinds of events, as texts: a later release may have more.
    events: Mapped[list[str]] = mapped_column(JSON)
    #: None is all endpoints.
    endpoint_names: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    #: None is a caller without an API key.
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DeploymentChangeRow(Table):
    """A change of a deployment; `before` and `after` are what was desired, as JSON.

    No constraint names the actions and outcomes: a later release may have more. No key refers to a version: a change
    must not keep one from being deleted.
    """

    __tablename__ = "deployment_changes"

    endpoint_name: Mapped[str] = mapped_column(String(MAX_ENDPOINT_NAME_LENGTH), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(String(16))
    #: None is a caller without an API key.
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    #: None for a new endpoint.
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any]] = mapped_column(JSON)
    rolled_back_to: Mapped[int | None] = mapped_column(Integer)
    #: None until a request has seen one.
    outcome: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AliasRow(Table):
    """A movable name for a version of a model."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        ForeignKeyConstraint(["model_name", "version"], ["model_versions.model_name", "model_versions.version"]),
    )

    model_name: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(MAX_ALIAS_NAME_LENGTH), primary_key=True)
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AliasMoveRow(Table):
    """A move of an alias; the row stays when the alias is deleted."""

    __tablename__ = "alias_moves"
    __table_args__ = (Index(None, "model_name", "alias"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    model_name: Mapped[str] = mapped_column(ForeignKey("models.name"))
    alias: Mapped[str] = mapped_column(String(MAX_ALIAS_NAME_LENGTH))
    #: None for a new alias.
    from_version: Mapped[str | None] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    #: None for one that was deleted.
    to_version: Mapped[str | None] = mapped_column(String(MAX_VERSION_NAME_LENGTH))
    #: None is a caller without an API key.
    actor: Mapped[str | None] = mapped_column(String(MAX_KEY_NAME_LENGTH))
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TagRow(Table):
    """A tag of a version, or of a model itself, whose version is empty."""

    __tablename__ = "model_tags"

    model_name: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[str] = mapped_column(String(MAX_VERSION_NAME_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_TAG_NAME_LENGTH), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ApiKeyRow(Table):
    """A key of the HTTP API; the row stays after a revocation."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_KEY_NAME_LENGTH), index=True)
    role: Mapped[Role] = mapped_column(_one_of(Role, "role"))
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    #: None is all endpoints.
    endpoint_names: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    rate_limit_per_s: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
