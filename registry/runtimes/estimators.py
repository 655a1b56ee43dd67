"""Asking a scikit-learn estimator, however it was stored: rows to an array, and labels in the answers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from registry.errors import ModelLoadFailed
from registry.input_checks import Dtype
from registry.runtimes.options import Options
from registry.runtimes.outputs import rows_to_json
from registry.signature import Signature

#: numpy's words for dtypes.
ARRAY_DTYPES: Mapping[Dtype, str] = {
    Dtype.FLOAT: "float64",
    Dtype.INT: "int64",
    Dtype.BOOL: "bool",
    Dtype.STR: "object",
}


class EstimatorOptions(Options):
    """Which answer of the estimator is wanted."""

    method: Literal["predict", "predict_proba", "decision_function"] = "predict"


class EstimatorModel:
    """A fitted estimator or pipeline that was loaded."""

    def __init__(self, estimator: Any, options: EstimatorOptions, signature: Signature) -> None:
        """Take a loaded object. Raises ModelLoadFailed if it lacks the method that the options name."""
        if not callable(getattr(estimator, options.method, None)):
            raise ModelLoadFailed(f"The model, a {type(estimator).__name__}, has no method {options.method}().")
        self._ask = getattr(estimator, options.method)
        self._method = options.method
        self._rows = _RowsForEstimators(estimator, signature)
        classes = getattr(estimator, "classes_", None)
        self._labels = None if classes is None else rows_to_json(classes, len(classes))
        last = _last_step(estimator)
        self._scores_pairs = getattr(last, "decision_function_shape", None) == "ovo"
        self._gives_many_labels = _gives_many_labels(last)

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows: values or labels, or a label with probabilities or scores.

        Raises:
            OutputInvalid: an output can't be said in JSON.
        """
        answers = self._ask(self._rows.prepared(rows))
        if self._method == "predict" or self._labels is None:
            return rows_to_json(answers, len(rows))
        if isinstance(answers, list):
            # Several outputs at once: a document for each of them.
            outputs = [
                [self._labelled(row, labels) for row in rows_to_json(each, len(rows))]
                for each, labels in zip(answers, self._labels, strict=True)
            ]
            return [list(each) for each in zip(*outputs, strict=True)]
        return [self._labelled(row, self._labels) for row in rows_to_json(answers, len(rows))]

    def _labelled(self, row: Any, labels: list[Any]) -> dict[str, Any]:
        if self._method == "decision_function" and not isinstance(row, list):
            # Two classes have one score: how far on the second one's side it is.
            return {"label": labels[1 if row > 0 else 0], "score": row}
        if self._method == "decision_function" and (self._scores_pairs or len(row) != len(labels)):
            return {"scores": row}  # of pairs of classes, which no label belongs to
        word = "probabilities" if self._method == "predict_proba" else "scores"
        named = {word: {_text(label): value for label, value in zip(labels, row, strict=True)}}
        if self._gives_many_labels:
            return named
        return {"label": labels[max(range(len(row)), key=row.__getitem__)], **named}


def _last_step(estimator: Any) -> Any:
    """Return what decides in a pipeline or in a search for the best parameters."""
    while True:
        steps = getattr(estimator, "steps", None)
        inner = steps[-1][1] if steps else getattr(estimator, "best_estimator_", None)
        if inner is None:
            return estimator
        estimator = inner


def _gives_many_labels(estimator: Any) -> bool:
    """Tell whether each class is a yes or no of its own, so that a row has any number of labels."""
    binarizer = getattr(estimator, "_label_binarizer", None)
    kind = getattr(binarizer, "y_type_", "")
    return bool(getattr(estimator, "multilabel_", False)) or kind.startswith("multilabel")


class _RowsForEstimators:
    """Makes of JSON rows what the estimator was fitted on."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self._signature = signature
        fitted_names = getattr(estimator, "feature_names_in_", None)
        self._columns = [str(name) for name in (fitted_names if fitted_names is not None else signature.fields or ())]
        # An estimator that was fitted on a data frame may pick its columns by name.
        self._pandas = import_module("pandas") if fitted_names is not None and find_spec("pandas") else None

    def prepared(self, rows: list[Any]) -> Any:
        import numpy as np

        if self._signature.fields is not None:
            rows = [[row[name] for name in self._columns] for row in rows]
            dtypes = {field.dtype for field in self._signature.fields.values()}
            dtype = "object" if Dtype.STR in dtypes else "float64"
        else:
            assert self._signature.dtype is not None  # noqa: S101 - all kinds but named have one
            dtype = ARRAY_DTYPES[self._signature.dtype]
            if self._signature.shape == () and self._signature.dtype is not Dtype.STR:
                rows = [[row] for row in rows]  # one feature; text goes to a vectorizer as a plain list
        if self._pandas is not None:
            return self._pandas.DataFrame(rows, columns=self._columns)
        return np.asarray(rows, dtype=dtype)


def _text(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
