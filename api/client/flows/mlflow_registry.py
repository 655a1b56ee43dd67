"""Versions in MLflow's own registry: fetches the folder, and tells which aliases and tags the version has there."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.client.documents import ModelVersion
from api.client.errors import RequestInvalid, SettingsWrong
from api.client.flows import catalog, registration
from api.client.steps import Flow

#: What the address of a version in MLflow's registry begins with.
SCHEME = "models:/"
_log = logging.getLogger("queuecast_client")


@dataclass(frozen=True)
class Source:
    """A model folder, with the aliases and tags that MLflow's registry has for it."""

    folder: str | Path
    aliases: list[str] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def opened(source: str | Path) -> Iterator[Source]:
    """Yield where a model folder is; one in MLflow's registry (`models:/churn@champion`) is fetched first.

    MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI say where that registry is, as for MLflow's own programs.

    Raises:
        SettingsWrong: MLflow is not installed, or has no such version.
    """
    address = str(source)
    if not address.startswith(SCHEME):
        yield Source(source)
        return
    with tempfile.TemporaryDirectory(prefix="queuecast-") as target:
        yield _fetched(address, target)


def take_along(found: Source, version: ModelVersion, ends_at: float) -> Flow[ModelVersion]:
    """Give an imported version the aliases and tags of its source; return it with them.

    What the service refuses, such as a tag with a space in its name, is logged and left out.
    """
    if not found.aliases and not found.tags:
        return version
    for alias in found.aliases:
        yield from _unless_refused(
            catalog.move_alias(version.model_name, alias, version.version, catalog.ANY_VERSION, ends_at),
            f"alias {alias!r}",
        )
    for name, value in found.tags.items():
        flow = catalog.tag(version.model_name, {name: value}, version.version, ends_at)
        yield from _unless_refused(flow, f"tag {name!r}")
    shown = yield from registration.show_version(version.model_name, version.version, ends_at)
    return ModelVersion.of({**version.document, **shown.document})


def _unless_refused(flow: Flow[Any], what: str) -> Flow[None]:
    try:
        yield from flow
    except RequestInvalid as error:
        _log.warning("MLflow's %s is left out: %s", what, error)


def _fetched(address: str, target: str) -> Source:
    try:
        from mlflow import MlflowClient, artifacts
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise SettingsWrong(
            f"To import {address}, install mlflow-skinny here: pip install mlflow-skinny. A folder needs no MLflow."
        ) from error
    try:
        found = _version(MlflowClient(), address)
        folder = artifacts.download_artifacts(artifact_uri=address, dst_path=target)
    except MlflowException as error:
        raise SettingsWrong(f"MLflow can't find {address}: {error}") from error
    return Source(folder, sorted(found.aliases), dict(found.tags))


def _version(client: Any, address: str) -> Any:
    name, at, alias = address.removeprefix(SCHEME).partition("@")
    if at:
        return client.get_model_version_by_alias(name, alias)
    name, slash, version = name.partition("/")
    if not slash or not version:
        raise SettingsWrong(f"{address} names no version: write {SCHEME}NAME@ALIAS or {SCHEME}NAME/VERSION.")
    return client.get_model_version(name, version)
