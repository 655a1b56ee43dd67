"""Loads a model and predicts its example; the same steps in a model host and in a trial."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry import runtimes
from registry.errors import ModelLoadFailed, RegistryError
from registry.runtimes.failures import exceptions
from registry.runtimes.protocol import Model
from registry.signatures import layout

#: The class of scikit-learn's warning; a host without scikit-learn has no such class.
_INCONSISTENT_VERSION = "InconsistentVersionWarning"
#: A pipeline has one for each of its estimators.
_MOST_WARNINGS = 20


def load(path: str, runtime: str, options: Mapping[str, Any], signature: Mapping[str, Any]) -> Model:
    """Load an artifact with the fields of its version. Raises like `runtimes.load`."""
    return runtimes.load(runtime, Path(path), options, layout.read(signature))


@contextmanager
def version_warnings() -> Iterator[list[str]]:
    """Yield a list that gets scikit-learn's warnings of estimators that another release of it has pickled."""
    found: list[str] = []
    show = warnings.showwarning

    def record(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
        text = " ".join(str(message).split())
        if category.__name__ == _INCONSISTENT_VERSION and text not in found and len(found) < _MOST_WARNINGS:
            found.append(text)
        show(message, category, *rest, **named)

    warnings.showwarning = record
    try:
        yield found
    finally:
        if warnings.showwarning is record:  # the model's code may have set its own
            warnings.showwarning = show


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
