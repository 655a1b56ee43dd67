"""Runtime `mlflow`: whole MLflow model folders with the flavor python_function, loaded and asked by MLflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from registry import archives
from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.options import Options
from registry.runtimes.outputs import rows_to_json
from registry.signature import Signature

#: MLflow tells its makers nothing, and finds no server to ask; read when it is imported.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class MlflowOptions(Options):
    """How the model is asked."""

    #: Values of the signature's params, the same for all jobs.
    params: dict[str, Any] = Field(default_factory=dict)


class MlflowModel:
    """A model that MLflow has loaded."""

    def __init__(self, model: Any, options: MlflowOptions, signature: Signature) -> None:
        self._model = model
        self._params = options.params or None
        self._feed = _Feed(model, signature)

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows. Raises OutputInvalid: JSON can't say them, or they are not as many."""
        answers = self._model.predict(self._feed.prepared(rows), params=self._params)
        return rows_to_json(_by_row(answers, len(rows)), len(rows))


class MlflowRuntime:
    """Loads with `mlflow.pyfunc`; an artifact is the folder as an archive, and loading runs code that is in it."""

    libraries: tuple[str, ...] = ("mlflow-skinny", "pandas")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as they are stored. Raises RuntimeOptionsInvalid."""
        return MlflowOptions.checked(options)

    def recognizes(self, model: object) -> bool:  # noqa: ARG002 - the protocol's
        """Tell nothing: folders are imported, not registered as objects."""
        return False

    def dump(self, model: Any) -> bytes:  # noqa: ARG002 - the protocol's
        """Raise ModelLoadFailed: MLflow itself writes its folders."""
        raise ModelLoadFailed("Save the model with mlflow.pyfunc.save_model, and import the folder.")

    def load(self, path: Path, options: Mapping[str, Any], signature: Signature) -> MlflowModel:
        """Load a folder. Raises RuntimeUnavailable without MLflow."""
        library, chosen = _library(), MlflowOptions.parse(options)
        folder = archives.unpacked_beside(path)
        sys.dont_write_bytecode = True  # code of the model is imported from there
        return MlflowModel(library.load_model(str(folder)), chosen, signature)


def _library() -> ModuleType:
    os.environ.update(_ENVIRONMENT)
    try:
        import mlflow.pyfunc
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("mlflow", "mlflow-skinny" if error.name == "mlflow" else str(error.name)) from error
    library: ModuleType = mlflow.pyfunc
    return library


class _Feed:
    """Makes of JSON rows what MLflow expects: as its own server does, by the signature that the folder has."""

    def __init__(self, model: Any, signature: Signature) -> None:
        self._signature = signature
        self._schema = model.metadata.get_input_schema()
        self._takes_rows = bool(model.metadata.to_dict().get("is_signature_from_type_hint"))

    def prepared(self, rows: list[Any]) -> Any:
        import numpy as np

        schema = self._schema
        if self._takes_rows:
            return rows
        if schema is None:
            return self._as_our_signature_says(rows)
        if not schema.is_tensor_spec():
            return self._frame(rows)
        if not schema.has_input_names():
            return np.asarray(rows, dtype=schema.input_types()[0])
        types = zip(schema.input_names(), schema.input_types(), strict=True)
        return {name: np.asarray([row[name] for row in rows], dtype=dtype) for name, dtype in types}

    def _frame(self, rows: list[Any]) -> Any:
        from mlflow.utils import proto_json_utils

        frame: Any = proto_json_utils.dataframe_from_parsed_json
        if self._schema.has_input_names():
            return frame(rows, "records", self._schema)
        lists = [row if isinstance(row, list) else [row] for row in rows]
        return frame({"data": lists}, "split", self._schema)

    def _as_our_signature_says(self, rows: list[Any]) -> Any:
        import numpy as np
        import pandas as pd

        fields = self._signature.fields
        return np.asarray(rows) if fields is None else pd.DataFrame(rows, columns=list(fields))


def _by_row(answers: Any, row_count: int) -> Any:
    """Return data frames, series and columns of arrays as a list of rows; what else there is as it is."""
    import numpy as np
    import pandas as pd

    if isinstance(answers, pd.DataFrame):
        return answers.to_dict("records")
    if isinstance(answers, pd.Series):
        return answers.tolist()
    if not isinstance(answers, dict):
        return answers
    arrays = (np.ndarray, pd.Series)
    columns = {name: each.tolist() if isinstance(each, arrays) else each for name, each in answers.items()}
    if columns and all(isinstance(each, list) and len(each) == row_count for each in columns.values()):
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [columns] if row_count == 1 else answers


RUNTIME = MlflowRuntime()
