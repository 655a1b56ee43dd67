"""Runtime `sklearn`: scikit-learn estimators and pipelines, stored by joblib."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from registry.runtimes.estimators import EstimatorModel, EstimatorOptions
from registry.signature import Signature


class SklearnRuntime:
    """Stores and loads with joblib; loading runs code that is in the artifact."""

    libraries: tuple[str, ...] = ("scikit-learn", "numpy", "joblib")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as they are stored. Raises RuntimeOptionsInvalid."""
        return EstimatorOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Tell whether it is an estimator, of scikit-learn or of a library that extends it."""
        names = {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in type(model).__mro__}
        return "sklearn.BaseEstimator" in names

    def dump(self, model: Any) -> bytes:
        """Return the estimator as joblib writes it."""
        import joblib

        target = BytesIO()
        joblib.dump(model, target)
        return target.getvalue()

    def load(self, path: Path, options: Mapping[str, Any], signature: Signature) -> EstimatorModel:
        """Load an estimator. Raises ModelLoadFailed if it lacks the method that the options name."""
        import joblib

        return EstimatorModel(joblib.load(path), EstimatorOptions.parse(options), signature)


RUNTIME = SklearnRuntime()
