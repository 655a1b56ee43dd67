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
