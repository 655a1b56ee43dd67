"""Calls tree models of XGBoost, LightGBM and CatBoost, and gives their numbers the form of an answer.

The answers are those of the libraries' own estimators: `XGBClassifier`, `LGBMRegressor` and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from registry.errors import ModelLoadFailed, OutputInvalid
from registry.runtimes.inputs.features import FeatureRows
from registry.runtimes.options import Options, labels_or_null, one_of, option
from registry.runtimes.outputs import names_of, rows_to_json

#: A number or a list of numbers for each row, as numpy's array.
Scores = Any
Answering = Callable[[Scores, int], list[Any]]
#: From this probability on a label of several is given; exclusive.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class TreeOptions(Options):
    """What to answer."""

    #: `predict`: a label, or the value of a model without classes; `predict_proba`: the label with the probabilities
    #: of the classes; `raw`: the sum of the trees, before the objective makes a probability or a value of it.
    method: str = option(one_of("predict", "predict_proba", "raw"), "predict")
    #: The names of the classes, in the order of their numbers; 0, 1, … by default.
    classes: list[Any] | None = option(labels_or_null(2, 10_000), None)


class TreeModel:
    """A loaded model."""

    def __init__(self, score: Callable[[Any], Scores], rows: FeatureRows, answers: Answering) -> None:
        self._score = score
        self._rows = rows
        self._answers = answers

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return the outputs of the rows: labels, labels with probabilities, or values.

        Raises:
            InputUnsuitable: the features can't contain a value.
            OutputInvalid: an output is NaN or infinite.
        """
        return self._answers(self._score(self._rows.prepared(rows)), len(rows))


def values(options: TreeOptions, objective: str) -> Answering:
    """Return the form of the answers of a model without classes: its values.

    Raises:
        ModelLoadFailed: the options are for classes.
    """
    if options.method == "predict_proba" or options.classes is not None:
        option = "the method predict_proba" if options.classes is None else "the option `classes`"
        raise ModelLoadFailed(f"The model has no classes (its objective is {objective}), so {option} is not possible.")
    return rows_to_json


def one_class(options: TreeOptions, count: int) -> Answering:
    """Return the form of the answers of a classifier that scores each row for each class.

    A score of two classes may be a single number, the probability of the second class.

    Raises:
        ModelLoadFailed: the options name another number of classes, or two classes have the same name.
    """
    if options.method == "raw":
        return rows_to_json
    labels, names = _named(options, count)

    def answer(scores: Scores, row_count: int) -> list[Any]:
        import numpy as np

        if scores.ndim == 1:
            scores = np.stack([1 - scores, scores], axis=1)
        rows = rows_to_json(scores, row_count)
        found = [labels[place] for place in scores.argmax(axis=1).tolist()]
        if options.method == "predict":
            return found
        return [{"label": label, "probabilities": dict(zip(names, row))} for label, row in zip(found, rows)]

    return answer


def several_labels(options: TreeOptions, count: int) -> Answering:
    """Return the form of the answers of a model that gives each of its labels or not.

    Raises:
        ModelLoadFailed: like `one_class`.
    """
    if options.method == "raw":
        return rows_to_json
    _, names = _named(options, count)

    def answer(scores: Scores, row_count: int) -> list[Any]:
        rows = rows_to_json(scores, row_count)
        if options.method == "predict":
            return [[int(each > _THRESHOLD) for each in row] for row in rows]
        return [{"probabilities": dict(zip(names, row))} for row in rows]

    return answer


def _named(options: TreeOptions, count: int) -> tuple[list[Any], list[str]]:
    """Return the labels of the classes, and their names in JSON."""
    labels: list[Any] = list(range(count)) if options.classes is None else list(options.classes)
    if len(labels) != count:
        raise ModelLoadFailed(f"The model has {count} classes; the runtime option `classes` names {len(labels)}.")
    try:
        return labels, names_of(labels, "classes")
    except OutputInvalid as error:
        raise ModelLoadFailed(str(error)) from error
