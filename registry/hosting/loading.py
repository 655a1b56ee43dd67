"""Loads a model and predicts its example; the same steps in a model host and in a trial."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry import runtimes
from registry.errors import ModelLoadFailed, RegistryError
from registry.runtimes.failures import exceptions
from registry.runtimes.protocol import Model
from registry.signatures.signature import Signature


def load(path: str, runtime: str, options: Mapping[str, Any], signature: Mapping[str, Any]) -> Model:
    """Load an artifact with the fields of its version. Raises like `runtimes.load`."""
    return runtimes.load(runtime, Path(path), options, Signature.model_validate(signature))


def predict_example(model: Model, input_example: Any) -> tuple[Any, float]:
    """Return the model's outputs for its example, and the duration (s).

    Raises:
        ModelLoadFailed: the model raised an exception, also SystemExit.
        InputInvalid, OutputInvalid: raised by the model's runtime.
    """
    rows = [copy.deepcopy(input_example)]  # the model may change it
    began = time.perf_counter()
    try:
        answers = model.predict(rows)
    except RegistryError:
        raise
    except BaseException as error:
        flat = exceptions.type_and_message(error)
        raise ModelLoadFailed(
            f"The model fails on its example: {flat['type']}: {flat['message']}{exceptions.remedy(error)}"
        ) from error
    return answers, time.perf_counter() - began
