"""Registers, shows and deletes model versions. Must not load a model."""

from __future__ import annotations

from typing import IO, Any

from sqlalchemy.orm import Session

from api.models.schemas import ModelSearch, Registration
from api.process.services import Services
from registry import versions
from registry.catalog import search
from registry.environments import environment as environments
from registry.environments import locking
from registry.mlflow import importing
from registry.runtimes.storage import detection
from registry.settings import load as registry_settings

View = dict[str, Any]
_EVERY_MODEL = ModelSearch()
_DESCRIBED = {"runtime_options", "signature", "input_example", "metadata", "version"}


def register(services: Services, artifact: IO[bytes], wanted: Registration) -> View:
    """Add a version from an artifact, or from an MLflow model folder; return the version.

    Raises:
        RuntimeUndetected: none was named, and the artifact could be of several.
        NameInvalid, VersionExists, RuntimeUnknown, RuntimeOptionsInvalid, MetadataInvalid: it can't be added so.
        EnvironmentsOff, EnvironmentInvalid, EnvironmentUnresolvable: there can't be such an environment.
        SignatureInvalid, InputInvalid: neither signature nor example was given, or they don't agree.
        ArchiveInvalid, MlflowFolderInvalid: the artifact is not an MLflow model folder that can be imported.
        ArtifactStoreUnavailable: the artifact could not be stored.
    """
    described = wanted.model_dump(include=_DESCRIBED)
    environment = None if wanted.environment is None else wanted.environment.document
    detected = detection.detect(artifact) if wanted.runtime is None and wanted.format is None else None
    runtime = wanted.runtime if detected is None else detected.runtime
    with services.database.session() as session:
        if runtime is None:
            limit = services.settings.max_artifact_bytes
            added = importing.import_folder(
                session, services.store, wanted.name, artifact,
                flavor=wanted.flavor, max_unpacked_bytes=limit, environment=environment, **described,
            )  # fmt: skip
        else:
            locked = None if environment is None else locking.locked(environment, registry_settings())
            added = versions.add_version(
                session, services.store, wanted.name, artifact, runtime=runtime, environment=locked, **described
            )
        session.commit()
        found = _with_environment(session, {**added.document(), "aliases": [], "tags": {}})
    return found if detected is None else {**found, "runtime_reason": detected.reason}


def list_models(services: Services, wanted: ModelSearch = _EVERY_MODEL) -> list[View]:
    """Return the models with this text in their names and with these tags, without their versions, by name."""
    with services.database.session() as session:
        return search.models(session, wanted.q, wanted.tags)


def show_model(services: Services, model_name: str) -> View:
    """Return a model and its versions. Raises ModelNotFound."""
    with services.database.session() as session:
        return search.model(session, model_name)


def show_version(services: Services, model_name: str, version: str) -> View:
    """Return one version. Raises ModelNotFound or VersionNotFound."""
    with services.database.session() as session:
        return _with_environment(session, search.version(session, model_name, version))


def _with_environment(session: Session, version: View) -> View:
    if (sha256 := version["environment_sha256"]) is None:
        return version
    return {**version, "environment": environments.get(session, sha256).document()}


def stats(services: Services) -> View:
    """Return counts over the registry."""
    with services.database.session() as session:
        return versions.stats(session)


def delete_version(services: Services, model_name: str, version: str) -> None:
    """Delete a version; its name stays taken.

    Raises:
        ModelNotFound, VersionNotFound: there is none.
        VersionInUse: an endpoint serves it.
        VersionAliased: an alias names it.
        VersionJudged: it is the candidate of a shadow or a rollout.
    """
    with services.database.session() as session:
        versions.delete_version(session, model_name, version)
        session.commit()
