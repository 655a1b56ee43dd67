"""Models and their versions, aliases, tags and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

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
from api.client.sync.base import BlockingCalls
from api.client.typing import Unpack


class ModelCalls(BlockingCalls):
    """Models and their versions, aliases, tags and artifacts."""

    def register(
        self,
        name: str,
        artifact: str | Path | bytes | IO[bytes],
        *,
        runtime: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """Register a file, or its bytes, as a version of a model; return the version.

        Loading a pickled model runs its code: register only what you trust. Without a `runtime`, the service finds it
        from the file, without running its code. `RegisterOptions` describes the other options.
        """
        described = registration.described(name, options, runtime=runtime)
        upload = registration.upload_of(artifact, described)
        return self._driver.run(registration.register(upload, described, timeout_s))

    def import_mlflow(
        self,
        name: str,
        folder: str | Path,
        *,
        flavor: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """Import a model folder as MLflow writes it (with the file MLmodel), or an archive of one; return the version.

        Its flavor decides the runtime: the first of sklearn, onnx and python_function that it has, unless named.
        `metadata["mlflow"]` of the version says where it came from, and in "warnings" what to know. Loading the model
        runs its code. An import whose answer is lost is not tried again.

        `models:/churn@champion` and `models:/churn/3` name a version in MLflow's registry (`MLFLOW_TRACKING_URI`),
        which needs mlflow-skinny here. Its aliases and tags are taken along.
        """
        described = registration.described(name, options, flavor=flavor)
        with mlflow_registry.opened(folder) as source, folders.archived(source.folder) as archive:
            imported = self._driver.run(registration.import_mlflow(archive, described, timeout_s))
            return self._driver.run(mlflow_registry.take_along(source, imported, self._ends_at(timeout_s)))

    def models(self, text: str | None = None, *, tags: Mapping[str, str] | None = None) -> list[Model]:
        """Return the models, by name, without their versions: those with this text in their names, and these tags."""
        return self._driver.run(registration.list_models(text, tags or {}, self._ends_at()))

    def model(self, name: str) -> Model:
        """Return a model and its versions. Raises NotFound."""
        return self._driver.run(registration.show_model(name, self._ends_at()))

    def model_version(self, name: str, version: str) -> ModelVersion:
        """Return one version of a model. Raises NotFound."""
        return self._driver.run(registration.show_version(name, version, self._ends_at()))

    def aliases(self, model_name: str) -> list[Alias]:
        """Return the aliases of a model, by name. Raises NotFound."""
        return self._driver.run(catalog.aliases(model_name, self._ends_at()))

    def move_alias(self, model_name: str, alias: str, version: str, *, expected: str | None = ANY_VERSION) -> Alias:
        """Let an alias name a version; endpoints that follow it swap to it (`swapped`) or roll it out (`rolling_out`).

        With `expected`, only if it names this version now; None is an alias that doesn't exist yet.

        Raises:
            NotFound: there is no such version.
            Conflict: it names another version than the expected one.
        """
        return self._driver.run(catalog.move_alias(model_name, alias, version, expected, self._ends_at()))

    def delete_alias(self, model_name: str, alias: str) -> None:
        """Delete an alias. Raises NotFound; Conflict if an endpoint follows it."""
        self._driver.run(catalog.delete_alias(model_name, alias, self._ends_at()))

    def tag(self, model_name: str, tags: Mapping[str, str | None], *, version: str | None = None) -> Mapping[str, str]:
        """Set tags of a model, or of one version; None removes one. Return all that it has. Raises NotFound."""
        return self._driver.run(catalog.tag(model_name, tags, version, self._ends_at()))

    def delete_version(self, name: str, version: str) -> None:
        """Delete a version that no endpoint serves; its artifact goes with the next `prune_artifacts`.

        Raises:
            NotFound: there is no such version.
            RequestRefused: endpoints serve it; the message names them.
        """
        self._driver.run(registration.delete_version(name, version, self._ends_at()))

    def prune_artifacts(self, *, dry_run: bool = False, grace_s: float = 3_600) -> Document:
        """Delete artifacts that nothing needs, older than `grace_s`; return what was deleted (or would be), and stays.

        `is_complete` in it is False if there is more to look at: call it again.
        """
        wanted = {"dry_run": dry_run, "grace_s": grace_s}
        return self._driver.run(registration.prune_artifacts(wanted, self._ends_at()))
