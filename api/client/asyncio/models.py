"""Models and their versions, aliases, tags and artifacts, awaited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

from api.client.asyncio.base import AwaitedCalls
from api.client.base import REGISTER_TIMEOUT_S
from api.client.documents import (
    Alias,
    Model,
    ModelVersion,
)
from api.client.flows import (
    catalog,
    folders,
    mlflow_registry,
    registration,
)
from api.client.flows.catalog import ANY_VERSION
from api.client.options import RegisterOptions
from api.client.steps import Document
from api.client.typing import Unpack


class ModelCalls(AwaitedCalls):
    """Models and their versions, aliases, tags and artifacts, awaited."""

    async def register(
        self,
        name: str,
        artifact: str | Path | bytes | IO[bytes],
        *,
        runtime: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """As `Client.register`."""
        described = registration.described(name, options, runtime=runtime)
        upload = registration.upload_of(artifact, described)
        return await self._driver.run(registration.register(upload, described, timeout_s))

    async def import_mlflow(
        self,
        name: str,
        folder: str | Path,
        *,
        flavor: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """As `Client.import_mlflow`."""
        described = registration.described(name, options, flavor=flavor)
        with mlflow_registry.opened(folder) as source, folders.archived(source.folder) as archive:
            imported = await self._driver.run(registration.import_mlflow(archive, described, timeout_s))
            return await self._driver.run(mlflow_registry.take_along(source, imported, self._ends_at(timeout_s)))

    async def models(self, text: str | None = None, *, tags: Mapping[str, str] | None = None) -> list[Model]:
        """As `Client.models`."""
        return await self._driver.run(registration.list_models(text, tags or {}, self._ends_at()))

    async def model(self, name: str) -> Model:
        """As `Client.model`."""
        return await self._driver.run(registration.show_model(name, self._ends_at()))

    async def model_version(self, name: str, version: str) -> ModelVersion:
        """As `Client.model_version`."""
        return await self._driver.run(registration.show_version(name, version, self._ends_at()))

    async def aliases(self, model_name: str) -> list[Alias]:
        """As `Client.aliases`."""
        return await self._driver.run(catalog.aliases(model_name, self._ends_at()))

    async def move_alias(
        self, model_name: str, alias: str, version: str, *, expected: str | None = ANY_VERSION
    ) -> Alias:
        """As `Client.move_alias`."""
        return await self._driver.run(catalog.move_alias(model_name, alias, version, expected, self._ends_at()))

    async def delete_alias(self, model_name: str, alias: str) -> None:
        """As `Client.delete_alias`."""
        await self._driver.run(catalog.delete_alias(model_name, alias, self._ends_at()))

    async def tag(
        self, model_name: str, tags: Mapping[str, str | None], *, version: str | None = None
    ) -> Mapping[str, str]:
        """As `Client.tag`."""
        return await self._driver.run(catalog.tag(model_name, tags, version, self._ends_at()))

    async def delete_version(self, name: str, version: str) -> None:
        """As `Client.delete_version`."""
        await self._driver.run(registration.delete_version(name, version, self._ends_at()))

    async def prune_artifacts(self, *, dry_run: bool = False, grace_s: float = 3_600) -> Document:
        """As `Client.prune_artifacts`."""
        wanted = {"dry_run": dry_run, "grace_s": grace_s}
        return await self._driver.run(registration.prune_artifacts(wanted, self._ends_at()))
