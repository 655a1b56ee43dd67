"""Grades one prediction by the truth of its row: whether it is right, how far off it is, and its probability.

- A prediction and a truth of the same form are compared member by member.
- Where the truth is one value and the prediction is an object, the truth is that of its label: the field `label`,
  `class` or `prediction`, or its only label; without a label, that of its only number.
- Probabilities of classes are right if the most probable class is the truth: its name (`ComparisonOptions.classes`, or
  the key of an object), or its index.
- An integer is graded as a label and as a number; the report decides which of both it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry.signatures.output_columns import ONLY_OUTPUT
from workers.judging.comparison.leaves import LeafKind, are_probabilities, is_number, winner
from workers.judging.comparison.pairs import ComparisonOptions
from workers.judging.comparison.tallies.probabilities import probability_of

_NAMES_OF_LABELS = ("label", "class", "prediction")


@dataclass(frozen=True, slots=True)
class Grade:
    """One prediction beside its truth."""

    #: Whether the label is right; None without a label.
    right: bool | None = None
    #: The absolute error; None without a number.
    error: float | None = None
    #: Whether right and error are those of the same integer.
    is_integer: bool = False
    #: The probability of something, and whether it is so.
    probability: float | None = None
    is_true: bool = False


def grade(prediction: Any, truth: Any, options: ComparisonOptions, path: str = ONLY_OUTPUT) -> Grade | None:
    """Return the grade of a prediction; None if it can't be compared with the truth."""
    if truth is None:
        return None
    if are_probabilities(prediction):
        return _grade_probabilities(prediction, truth, options)
    if isinstance(prediction, Mapping):
        return _grade_object(prediction, truth, options)
    if isinstance(prediction, list):
        if not isinstance(truth, list) or len(truth) != len(prediction):
            return None
        return _combined(grade(*each, options, f"{path}[]") for each in zip(prediction, truth, strict=True))
    return _grade_value(prediction, truth, options.kinds.get(path), options)


def _grade_value(prediction: Any, truth: Any, kind: str | None, options: ComparisonOptions) -> Grade | None:
    if isinstance(truth, (Mapping, list)):
        return None
    if not is_number(prediction) or not (is_number(truth) or isinstance(truth, bool)):
        return Grade(right=bool(prediction == truth))
    if kind == LeafKind.PROBABILITY and truth in (0, 1):
        right = (prediction > options.threshold) == bool(truth)
        return Grade(right=right, probability=float(prediction), is_true=bool(truth))
    if kind == LeafKind.LABEL:
        return Grade(right=bool(prediction == truth))
    error = float(abs(prediction - truth))
    if isinstance(prediction, int) and kind is None:
        return Grade(right=error == 0, error=error, is_integer=True)
    return Grade(error=error)


def _grade_probabilities(prediction: Any, truth: Any, options: ComparisonOptions) -> Grade | None:
    won = winner(prediction)
    if are_probabilities(truth) and type(truth) is type(prediction):
        true_class = winner(truth)
    elif isinstance(truth, (Mapping, list)):
        return None
    else:
        true_class = _class(truth, prediction, options)
    right = bool(won == true_class)
    if len(prediction) == 2:
        second = sorted(prediction)[1] if isinstance(prediction, Mapping) else 1
        return Grade(right=right, probability=probability_of(prediction), is_true=bool(true_class == second))
    return Grade(right=right, probability=probability_of(prediction), is_true=right)


def _class(truth: Any, prediction: Any, options: ComparisonOptions) -> Any:
    """Return the class of a truth as `winner` names it."""
    if isinstance(prediction, Mapping):
        return truth if truth in prediction else str(truth)
    return options.classes.index(truth) if truth in options.classes else truth


def _grade_object(prediction: Mapping[str, Any], truth: Any, options: ComparisonOptions) -> Grade | None:
    if isinstance(truth, Mapping):
        shared = [name for name in prediction if name in truth]
        found = _combined(grade(prediction[name], truth[name], options, name) for name in shared)
        name = _label_name(prediction)
        return _with_confidence(found, prediction, name) if name in truth and name is not None else found
    name = _label_name(prediction)
    if name is None:
        numbers = [each for each in prediction if is_number(prediction[each])]
        return grade(prediction[numbers[0]], truth, options, numbers[0]) if len(numbers) == 1 else None
    return _with_confidence(grade(prediction[name], truth, options, name), prediction, name)


def _with_confidence(graded: Grade | None, prediction: Mapping[str, Any], label_name: str) -> Grade | None:
    """Return the grade of a label with the probability that stands beside it."""
    confidence = _confidence(prediction, label_name)
    if graded is None or graded.right is None or graded.probability is not None or confidence is None:
        return graded
    return replace(graded, probability=confidence, is_true=graded.right)


def _label_name(prediction: Mapping[str, Any]) -> str | None:
    named = [each for each in _NAMES_OF_LABELS if isinstance(prediction.get(each), (str, bool, int))]
    labels = [name for name, each in prediction.items() if isinstance(each, (str, bool))]
    return named[0] if named else labels[0] if len(labels) == 1 else None


def _confidence(prediction: Mapping[str, Any], label_name: str) -> float | None:
    """Return the probability that stands beside a label."""
    for name, each in prediction.items():
        if name != label_name and are_probabilities(each):
            return float(max(each.values() if isinstance(each, Mapping) else each))
        if name != label_name and isinstance(each, float) and 0 <= each <= 1:
            return each
    return None


def _combined(grades: Iterable[Grade | None]) -> Grade | None:
    """Return one grade for the members: right if all labels are, and the mean error of the numbers."""
    known = [each for each in grades if each is not None]
    if not known:
        return None
    rights = [each.right for each in known if each.right is not None]
    errors = [each.error for each in known if each.error is not None]
    likely = next((each for each in known if each.probability is not None), Grade())
    return Grade(
        right=all(rights) if rights else None,
        error=sum(errors) / len(errors) if errors else None,
        is_integer=all(each.is_integer for each in known),
        probability=likely.probability,
        is_true=likely.is_true,
    )
