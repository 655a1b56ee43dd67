"""Probabilities and scores of an estimator by class name, with the label of its predict().

The label is not computed from the numbers, because thresholds, ties and other rules of the model determine it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry.errors import ModelLoadFailed, OutputInvalid
from registry.runtimes.outputs import names_of, rows_to_json

#: The names of a row's numbers: several by class, or a single one.
_NUMBER_NAMES = {"predict_proba": ("probabilities", "probability"), "decision_function": ("scores", "score")}
#: Attributes of the inner estimator that determines the prediction.
_INNER = ("best_estimator_", "final_estimator_", "estimator_")
#: Limit on nested estimators, since some objects have every attribute.
_DEEPEST = 32
#: Classes whose predict() calls their own predict_proba(), and returns the first of the most likely classes.
#: A second call would double the time of slow models: 4 ms more for each batch of a forest of 100 trees.
_TAKE_THE_MOST_LIKELY = {
    ("sklearn.ensemble._forest", "RandomForestClassifier"),
    ("sklearn.ensemble._forest", "ExtraTreesClassifier"),
}
#: Classes that delegate both methods to their last step or best estimator.
_DELEGATING = {
    ("sklearn.pipeline", "Pipeline"),
    ("sklearn.model_selection._search", "GridSearchCV"),
    ("sklearn.model_selection._search", "RandomizedSearchCV"),
}


class LabelledScores:
    """Returns probabilities or scores of rows with their labels, from an estimator with `classes_`."""

    def __init__(self, estimator: Any, method: str) -> None:
        """Take a fitted estimator that has this method.

        Raises:
            OutputInvalid: a class is not JSON-serializable.
            ModelLoadFailed: two classes have the same name as text.
        """
        self._method = getattr(estimator, method)
        self._predict = getattr(estimator, "predict", None)
        self._number_names = _NUMBER_NAMES[method]
        self._classes = rows_to_json(estimator.classes_, len(estimator.classes_))
        last = _last(estimator)
        self._any_number_of_labels = _gives_any_number_of_labels(last)
        self._scores_pairs = method == "decision_function" and getattr(last, "decision_function_shape", None) == "ovo"
        self._most_likely = method == "predict_proba" and _takes_the_most_likely(estimator)
        self._several = any(isinstance(each, list) for each in self._classes)
        self._names: list[Any] = list(map(_names, self._classes)) if self._several else _names(self._classes)

    def of(self, prepared: Any, row_count: int) -> list[Any]:
        """Return the numbers and the label of each row; for a model with several outputs, a list of such objects.

        Raises:
            OutputInvalid: an output is not JSON-serializable.
        """
        again = None if self._most_likely else prepared.copy()  # models may change their input
        answers = self._method(prepared)
        if self._several and isinstance(answers, list):
            return self._of_several_outputs(answers, again, row_count)
        rows = rows_to_json(answers, row_count)
        if self._several:
            # A chain of classifiers: one number for each of its labels, which are named by position.
            return self._documents(rows, list(map(str, range(len(self._classes)))), None)
        if self._any_number_of_labels:
            return self._documents(rows, self._names, None)
        labels = self._most_likely_of(rows, self._classes) if again is None else self._labels(again, row_count)
        return self._documents(rows, None if self._scores_pairs else self._names, labels)

    def _of_several_outputs(self, answers: list[Any], again: Any, row_count: int) -> list[Any]:
        columns = [rows_to_json(each, row_count) for each in answers]
        labels: Sequence[list[Any] | None]
        if again is None:
            labels = list(map(self._most_likely_of, columns, self._classes))
        else:
            labels = self._labels_of_several_outputs(again, row_count)
        documents = map(self._documents, columns, self._names, labels)
        return [list(each) for each in zip(*documents)]

    def _documents(self, rows: list[Any], names: list[str] | None, labels: list[Any] | None) -> list[dict[str, Any]]:
        documents = [self._numbers(row, names) for row in rows]
        if labels is None:
            return documents
        return [{"label": label, **document} for label, document in zip(labels, documents)]

    def _numbers(self, row: Any, names: list[str] | None) -> dict[str, Any]:
        several, one = self._number_names
        if not isinstance(row, list):
            return {one: row}  # two classes: positive for the second class
        if names is None or len(row) != len(names):
            return {several: row}  # pairs of classes, without labels
        return {several: dict(zip(names, row))}

    def _labels(self, prepared: Any, row_count: int) -> list[Any] | None:
        """Return one label of predict() for each row; None if it returns anything else."""
        labels = self._predicted(prepared, row_count)
        if labels is None or not any(isinstance(each, list) for each in labels):
            return labels
        # Some libraries return a column of labels; several labels in a row are not supported.
        return [label for (label,) in labels] if all(len(each) == 1 for each in labels) else None

    def _labels_of_several_outputs(self, prepared: Any, row_count: int) -> Sequence[list[Any] | None]:
        labels = self._predicted(prepared, row_count)
        if labels is None or not all(isinstance(each, list) and len(each) == len(self._classes) for each in labels):
            return [None] * len(self._classes)
        return [list(each) for each in zip(*labels)]

    def _predicted(self, prepared: Any, row_count: int) -> list[Any] | None:
        if self._predict is None:
            return None
        predicted = self._predict(prepared)
        if hasattr(predicted, "toarray"):  # a sparse matrix: any number of labels
            return None
        return rows_to_json(predicted.to_numpy() if hasattr(predicted, "to_numpy") else predicted, row_count)

    @staticmethod
    def _most_likely_of(rows: list[list[float]], classes: list[Any]) -> list[Any]:
        return [classes[max(range(len(row)), key=row.__getitem__)] for row in rows]


def _names(classes: list[Any]) -> list[str]:
    try:
        return names_of(classes, "classes_")
    except OutputInvalid as error:
        raise ModelLoadFailed(f"Its classes can't be told apart by name: {error}") from error


def _inner(estimator: Any) -> Any:
    """Return the inner estimator: a pipeline's last step, the best estimator of a search; or None."""
    steps = getattr(estimator, "steps", None)
    if steps:
        return steps[-1][1]
    return next((found for name in _INNER if (found := getattr(estimator, name, None)) is not None), None)


def _last(estimator: Any) -> Any:
    for _ in range(_DEEPEST):
        inner = _inner(estimator)
        if inner is None:
            break
        estimator = inner
    return estimator


def _gives_any_number_of_labels(estimator: Any) -> bool:
    """Whether a row can have any number of labels, because each class is predicted separately."""
    binarizer = getattr(estimator, "_label_binarizer", None)
    kind = getattr(binarizer, "y_type_", "")
    return bool(getattr(estimator, "multilabel_", False)) or kind.startswith("multilabel")


def _takes_the_most_likely(estimator: Any) -> bool:
    """Whether predict() is known to return the most likely class by the numbers of predict_proba()."""
    kind = (type(estimator).__module__, type(estimator).__name__)
    if kind not in _TAKE_THE_MOST_LIKELY | _DELEGATING or vars(estimator).keys() & {"predict", "predict_proba"}:
        return False  # another class, or an object with replaced methods
    return kind in _TAKE_THE_MOST_LIKELY or _takes_the_most_likely(_inner(estimator))
