"""Calls scikit-learn estimators, however they were stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.errors import ModelLoadFailed
from registry.runtimes.inputs.categoricals import check_categories
from registry.runtimes.inputs.labels import LabelledScores
from registry.runtimes.inputs.rows import estimator_rows, predict_alike
from registry.runtimes.options import Options, one_of, option
from registry.runtimes.outputs import rows_to_json
from registry.signatures.layout import InputLayout

#: Modules that most estimators import, which takes seconds.
ESTIMATOR_MODULES = ("joblib", "cloudpickle", "numpy", "sklearn.pipeline", "sklearn.linear_model", "sklearn.ensemble")


@dataclass(frozen=True)
class EstimatorOptions(Options):
    """The method to call."""

    method: str = option(one_of("predict", "predict_proba", "decision_function"), "predict")
    #: The value of a missing text or boolean; a missing number is always NaN.
    missing: str = option(one_of("nan", "none"), "nan")


class EstimatorModel:
    """A loaded, fitted estimator or pipeline."""

    def __init__(self, estimator: Any, options: EstimatorOptions, signature: InputLayout) -> None:
        """Take a loaded object.

        Raises:
            ModelLoadFailed: it lacks the method of the options, or has two classes of the same name.
            OutputInvalid: a class is not JSON-serializable.
        """
        if not callable(getattr(estimator, options.method, None)):
            raise ModelLoadFailed(f"The model, a {type(estimator).__name__}, has no method {options.method}().")
        check_categories(estimator, signature)
        self._predict = getattr(estimator, options.method)
        self._rows = estimator_rows(estimator, signature, missing=options.missing)
        self._scores = None
        if options.method != "predict" and getattr(estimator, "classes_", None) is not None:
            self._scores = LabelledScores(estimator, options.method)

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows: values or labels, or a label with probabilities or scores.

        Raises:
            InputUnsuitable: the estimator's input can't contain a value.
            OutputInvalid: an output is not JSON-serializable.
        """
        return predict_alike(rows, self._rows.kind_of, self._predict_alike)

    def _predict_alike(self, rows: list[Any]) -> list[Any]:
        prepared = self._rows.prepared(rows)
        if self._scores is not None:
            return self._scores.of(prepared, len(rows))
        return rows_to_json(self._predict(prepared), len(rows))
