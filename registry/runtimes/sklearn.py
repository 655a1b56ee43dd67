"""Runtime `sklearn`: scikit-learn estimators and pipelines, stored by cloudpickle or joblib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.runtimes.models.estimators import ESTIMATOR_MODULES, EstimatorModel, EstimatorOptions
from registry.runtimes.storage import pickling
from registry.signatures.layout import InputLayout


class SklearnRuntime:
    """Stores with cloudpickle, including the program's code; also loads files of joblib."""

    libraries: tuple[str, ...] = ("scikit-learn", "numpy", "joblib", "cloudpickle")
    preloaded: tuple[str, ...] = ESTIMATOR_MODULES

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return EstimatorOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Whether it is an estimator, of scikit-learn or of a library that extends it."""
        names = {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in type(model).__mro__}
        return "sklearn.BaseEstimator" in names

    def dump(self, model: Any) -> bytes:
        """Return the pickle of the estimator, with the code that only this program has."""
        return pickling.dumps(model)

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> EstimatorModel:
        """Load an estimator. Raises ModelLoadFailed if it lacks the method of the options."""
        return EstimatorModel(pickling.load(path), EstimatorOptions.parse(options), signature)


RUNTIME = SklearnRuntime()
