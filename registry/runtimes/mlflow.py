"""Runtime `mlflow`: whole MLflow model folders with the flavor python_function, loaded and called by MLflow."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from registry.artifacts import archives
from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.inputs.mlflow_inputs import feed_for
from registry.runtimes.inputs.rows import predict_alike, predict_in_batches_of
from registry.runtimes.inputs.tabular import rows_of
from registry.runtimes.options import Options, named_values, option
from registry.runtimes.outputs import rows_to_json
from registry.signatures.layout import InputLayout

#: Disables MLflow's telemetry and progress bar; read on import.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class MlflowOptions(Options):
    """Options for calling the model."""

    #: Values of the signature's params, the same for all jobs.
    params: dict[str, Any] = option(named_values, default_factory=dict)


class MlflowModel:
    """A model that MLflow has loaded."""

    def __init__(self, model: Any, options: MlflowOptions, signature: InputLayout) -> None:
        self._model = model
        self._params = options.params or None
        self._feed = feed_for(model.metadata, signature)

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows.

        Raises:
            InputUnsuitable: a type of the folder's signature can't contain a value.
            OutputInvalid: an output is not JSON-serializable, or their number is wrong.
        """
        return predict_alike(rows, self._feed.kind_of, self._predict_alike)

    def _predict_alike(self, rows: list[Any]) -> list[Any]:
        size = self._feed.rows_at_once
        return self._call(rows) if size is None else predict_in_batches_of(size, rows, self._call)

    def _call(self, rows: list[Any]) -> list[Any]:
        count = len(rows)  # the model may change the list, and the params
        answers = self._model.predict(self._feed.prepared(rows), params=copy.deepcopy(self._params))
        return rows_to_json(rows_of(answers, count), count)


class MlflowRuntime:
    """Loads with `mlflow.pyfunc`; an artifact is the folder as an archive, and loading runs its code."""

    libraries: tuple[str, ...] = ("mlflow-skinny", "pandas")
    preloaded: tuple[str, ...] = ("numpy",)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return MlflowOptions.checked(options)

    def recognizes(self, model: object) -> bool:  # noqa: ARG002 - the protocol's
        """Return False: folders are imported, not registered as objects."""
        return False

    def dump(self, model: Any) -> bytes:  # noqa: ARG002 - the protocol's
        """Raise ModelLoadFailed: MLflow writes its folders itself."""
        raise ModelLoadFailed("Save the model with mlflow.pyfunc.save_model, and import the folder.")

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> MlflowModel:
        """Load a folder. Raises RuntimeUnavailable without MLflow."""
        library, chosen = _library(), MlflowOptions.parse(options)
        folder = archives.unpacked_beside(path)
        sys.dont_write_bytecode = True  # the model's code is imported from the folder
        return MlflowModel(library.load_model(str(folder)), chosen, signature)


def _library() -> ModuleType:
    os.environ.update(_ENVIRONMENT)
    try:
        import mlflow.pyfunc
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("mlflow", "mlflow-skinny" if error.name == "mlflow" else str(error.name)) from error
    library: ModuleType = mlflow.pyfunc
    return library


RUNTIME = MlflowRuntime()
