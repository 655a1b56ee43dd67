"""Models and their immutable versions: add, read and delete them; imports no ML library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import IO, Any

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy.orm import Session

from registry import names, runtimes
from registry.artifacts.store import ArtifactStore, StoredArtifact
from registry.database import artifact_lock
from registry.database.inserting import insert_if_absent
from registry.database.json_documents import checked_metadata
from registry.database.tables import AliasRow, CandidateRow, DeploymentRow, EvaluationRow, ModelRow, VersionRow
from registry.environments import environment as environments
from registry.environments.environment import Environment
from registry.errors import (
    ModelNotFound,
    SignatureInvalid,
    VersionAliased,
    VersionEvaluated,
    VersionExists,
    VersionInUse,
    VersionJudged,
    VersionNotFound,
)
from registry.intent import Intent
from registry.signatures.signature import Signature


@dataclass(frozen=True)
class ModelVersion:
    """One immutable version of a model."""

    model_name: str
    version: str
    runtime: str
    runtime_options: dict[str, Any]
    signature: Signature
    input_example: Any
    metadata: dict[str, Any]
    artifact_sha256: str
    artifact_size_bytes: int
    created_at: datetime
    #: The environment that it runs in; None is the worker's own.
    environment_sha256: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document, with the signature also as JSON Schema."""
        return {
            **vars(self),
            "signature": self.signature.document(),
            "input_schema": self.signature.json_schema(),
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True)
class ModelSummary:
    """A model, without its versions."""

    name: str
    #: The version that a deploy uses by default.
    latest_version: str
    version_count: int
    created_at: datetime

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**vars(self), "created_at": self.created_at.isoformat()}


@dataclass(frozen=True)
class Model(ModelSummary):
    """A model with its versions, oldest first."""

    versions: list[ModelVersion]

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**super().document(), "versions": [version.document() for version in self.versions]}


def add_version(  # noqa: PLR0913 - the fields of a version, by name
    session: Session,
    store: ArtifactStore,
    name: str,
    artifact: IO[bytes] | bytes,
    *,
    runtime: str,
    runtime_options: Mapping[str, Any] | None = None,
    signature: Signature | Mapping[str, Any] | None = None,
    input_example: Any = None,
    metadata: Mapping[str, Any] | None = None,
    version: str | None = None,
    environment: Environment | None = None,
) -> ModelVersion:
    """Store an artifact and add it as a version of a model; the next number unless `version` is given.

    Raises:
        NameInvalid: the model or the version can't have this name.
        RuntimeUnknown, RuntimeOptionsInvalid, MetadataInvalid: the runtime, an option or the metadata is invalid.
        SignatureInvalid: there is neither a signature nor an example, or the signature is invalid.
        InputInvalid: the example doesn't fit the signature.
        VersionExists: the version exists, or existed before.
        ArtifactStoreUnavailable: the artifact could not be stored.
    """
    names.check_model_name(name)
    if version is not None:
        names.check_version_name(version)
        _refuse_existing(session, name, version)
    checked = {
        "runtime": runtime,
        "runtime_options": runtimes.get(runtime).check_options(runtime_options or {}),
        "signature": signature_of(signature, input_example).document(),
        "input_example": input_example,
        "details": checked_metadata(metadata),
        "environment_sha256": None if environment is None else environment.sha256,
    }
    # Slow, so before the first write, which locks the model's row, or SQLite's database.
    stored = store.put(artifact)
    if environment is not None:
        environments.add(session, environment)
    added = _insert(session, name, version, stored, checked)
    _store_again_if_pruned(session, store, artifact, stored)
    return added


def list_models(session: Session) -> list[ModelSummary]:
    """Return all models that have a version, by name."""
    rows = session.execute(
        select(ModelRow.name, ModelRow.created_at, VersionRow.version)
        .join(VersionRow, VersionRow.model_name == ModelRow.name)
        .where(VersionRow.deleted_at.is_(None))
        .order_by(ModelRow.name, VersionRow.id)
    )
    return [
        ModelSummary(name, names.newest(versions), len(versions), created_at)
        for (name, created_at), group in groupby(rows, key=lambda row: (row.name, row.created_at))
        if (versions := [row.version for row in group])
    ]


def list_names(session: Session) -> list[tuple[str, str]]:
    """Return the model name and the version name of all versions, by model, oldest first."""
    live = select(VersionRow.model_name, VersionRow.version).where(VersionRow.deleted_at.is_(None))
    return [
        (row.model_name, row.version) for row in session.execute(live.order_by(VersionRow.model_name, VersionRow.id))
    ]


def get_model(session: Session, name: str) -> Model:
    """Return a model and its versions. Raises ModelNotFound."""
    row = session.get(ModelRow, name) if names.could_exist(name) else None
    versions = [] if row is None else _live_versions(session, name)
    if row is None or not versions:
        raise ModelNotFound(name)
    return Model(row.name, names.newest([each.version for each in versions]), len(versions), row.created_at, versions)


def get_version(session: Session, name: str, version: str) -> ModelVersion:
    """Return one version. Raises ModelNotFound or VersionNotFound."""
    row = _find(session, name, version)
    if row is None or row.deleted_at is not None:
        get_model(session, name)
        raise VersionNotFound(name, version)
    return _view(row)


def latest_version(session: Session, name: str) -> ModelVersion:
    """Return the highest number if all versions are numbers, otherwise the one added last. Raises ModelNotFound."""
    model = get_model(session, name)
    return next(each for each in model.versions if each.version == model.latest_version)


def stats(session: Session) -> dict[str, Any]:
    """Count models, versions (also by runtime), distinct artifacts with their bytes, and serving deployments."""
    live = VersionRow.deleted_at.is_(None)
    by_runtime = session.execute(
        select(VersionRow.runtime, func.count()).where(live).group_by(VersionRow.runtime).order_by(VersionRow.runtime)
    )
    version_count_by_runtime = dict(by_runtime.all())
    sizes = dict(session.execute(select(VersionRow.artifact_sha256, VersionRow.artifact_size_bytes).where(live)).all())
    return {
        "model_count": session.scalar(select(func.count(VersionRow.model_name.distinct())).where(live)) or 0,
        "version_count": sum(version_count_by_runtime.values()),
        "version_count_by_runtime": version_count_by_runtime,
        "artifact_count": len(sizes),
        "artifact_size_bytes": sum(sizes.values()),
        "deployment_count": session.scalar(
            select(func.count()).select_from(DeploymentRow).where(DeploymentRow.intent == Intent.SERVE)
        )
        or 0,
    }


def delete_version(session: Session, name: str, version: str) -> None:
    """Delete a version; its name stays reserved, and its artifact stays for deployments that still wind down.

    Raises:
        ModelNotFound, VersionNotFound: it doesn't exist.
        VersionInUse: an endpoint serves it.
        VersionAliased: an alias names it.
        VersionEvaluated: an evaluation that has not ended needs it.
        VersionJudged: it is the candidate of a shadow or a rollout.
    """
    hold(session, name, version)
    row = _find(session, name, version)
    endpoints = session.scalars(
        select(DeploymentRow.endpoint_name)
        .where(DeploymentRow.model_name == name, DeploymentRow.version == version)
        .where(DeploymentRow.intent == Intent.SERVE)
        .order_by(DeploymentRow.endpoint_name)
    ).all()
    assert row is not None  # noqa: S101 - it is held
    if endpoints:
        raise VersionInUse(name, version, list(endpoints))
    named = select(AliasRow.alias).where(AliasRow.model_name == name, AliasRow.version == version)
    if aliases := list(session.scalars(named.order_by(AliasRow.alias))):
        raise VersionAliased(name, version, aliases)
    if evaluation_ids := _evaluating(session, name, version):
        raise VersionEvaluated(name, version, evaluation_ids)
    judged = select(CandidateRow.endpoint_name).where(CandidateRow.model_name == name, CandidateRow.version == version)
    if candidate_of := list(session.scalars(judged.order_by(CandidateRow.endpoint_name))):
        raise VersionJudged(name, version, candidate_of)
    row.deleted_at = datetime.now(UTC)
    session.flush()


def _evaluating(session: Session, name: str, version: str) -> list[str]:
    """Return the ids of evaluations that need a version and have not ended."""
    row = EvaluationRow
    mine = row.model_name == name, or_(row.version == version, row.stable_version == version)
    return list(session.scalars(select(row.id).where(*mine, row.finished_at.is_(None)).order_by(row.id)))


def hold(session: Session, name: str, version: str) -> None:
    """Lock a version until the caller commits, so that it is not deleted while it is being deployed.

    Raises:
        ModelNotFound, VersionNotFound: it doesn't exist.
    """
    get_version(session, name, version)
    # An update that changes nothing is the lock that both databases know.
    held = session.execute(
        update(VersionRow)
        .where(VersionRow.model_name == name, VersionRow.version == version, VersionRow.deleted_at.is_(None))
        .values(deleted_at=None)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(held, CursorResult)  # noqa: S101 - narrows the type
    if not held.rowcount:
        raise VersionNotFound(name, version)


def signature_of(signature: Signature | Mapping[str, Any] | None, input_example: Any) -> Signature:
    """Return the given signature, checked against the example, or else the one derived from the example.

    Raises:
        SignatureInvalid: there is neither, or the signature is invalid.
        InputInvalid: the example doesn't fit the signature.
    """
    if signature is None:
        if input_example is None:
            raise SignatureInvalid("Pass a signature, or an input_example from which to derive it.")
        return Signature.from_example(input_example)
    parsed = signature if isinstance(signature, Signature) else Signature.parse(signature)
    if input_example is not None:
        parsed.check(input_example, "input_example")
    return parsed.as_in_example(input_example, explicit=True)


def _insert(
    session: Session, name: str, version: str | None, stored: StoredArtifact, checked: Mapping[str, Any]
) -> ModelVersion:
    now = datetime.now(UTC)
    insert_if_absent(session, ModelRow, name=name, created_at=now)
    # With and without a given number, lock the model first, so that there is no deadlock.
    named = version or _next_number(session, name)
    _remember_number(session, name, names.number_of(named) or 0)
    inserted = insert_if_absent(
        session,
        VersionRow,
        model_name=name,
        version=named,
        artifact_sha256=stored.sha256,
        artifact_size_bytes=stored.size_bytes,
        created_at=now,
        **checked,
    )
    if not inserted:
        raise VersionExists(name, named)
    return get_version(session, name, named)


def _store_again_if_pruned(
    session: Session, store: ArtifactStore, artifact: IO[bytes] | bytes, stored: StoredArtifact
) -> None:
    """Store an artifact again that was deleted since, because no version had it yet; from here on one has."""
    artifact_lock.let_none_be_deleted(session)
    if not store.exists(stored.sha256):
        if not isinstance(artifact, bytes):
            artifact.seek(0)
        store.put(artifact)


def _next_number(session: Session, name: str) -> str:
    # The update locks the row until the caller commits, so the next caller waits.
    session.execute(update(ModelRow).where(ModelRow.name == name).values(last_number=ModelRow.last_number + 1))
    return str(session.scalar(select(ModelRow.last_number).where(ModelRow.name == name)))


def _remember_number(session: Session, name: str, number: int) -> None:
    session.execute(
        update(ModelRow).where(ModelRow.name == name, ModelRow.last_number < number).values(last_number=number)
    )


def _refuse_existing(session: Session, name: str, version: str) -> None:
    if _find(session, name, version) is not None:
        raise VersionExists(name, version)


def _find(session: Session, name: str, version: str) -> VersionRow | None:
    if not (names.could_exist(name) and names.could_exist(version)):
        return None
    return session.scalars(
        select(VersionRow).where(VersionRow.model_name == name, VersionRow.version == version)
    ).one_or_none()


def _live_versions(session: Session, name: str) -> list[ModelVersion]:
    rows = session.scalars(
        select(VersionRow).where(VersionRow.model_name == name, VersionRow.deleted_at.is_(None)).order_by(VersionRow.id)
    )
    return [_view(row) for row in rows]


def _view(row: VersionRow) -> ModelVersion:
    return ModelVersion(
        model_name=row.model_name,
        version=row.version,
        runtime=row.runtime,
        runtime_options=row.runtime_options,
        signature=Signature.stored(row.signature, row.input_example),
        input_example=row.input_example,
        metadata=row.details,
        artifact_sha256=row.artifact_sha256,
        artifact_size_bytes=row.artifact_size_bytes,
        created_at=row.created_at,
        environment_sha256=row.environment_sha256,
    )
