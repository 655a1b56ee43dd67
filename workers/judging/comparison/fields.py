"""The fields of a prediction, each with its path, and what kind of value each holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from workers.judging.comparison.pairs import ComparisonOptions

#: Fields beyond this many are compared as one text.
_MOST_FIELDS = 100
#: Lists of more numbers than this are one field.
_MOST_ELEMENTS = 10
#: How far the sum of probabilities may be from 1.
_SUM_TOLERANCE = 1e-3
#: The path of a prediction that is not an object.
WHOLE = ""


class Kind(StrEnum):
    """What a field holds."""

    LABEL = "label"
    INTEGER = "integer"
    NUMBER = "number"
    PROBABILITIES = "probabilities"
    #: A list of many numbers, such as an embedding.
    VECTOR = "vector"
    #: Anything else: compared as JSON.
    OTHER = "other"


def fields(prediction: Any) -> dict[str, Any]:
    """Return the values of a prediction by path, such as `label` or `boxes.width`; probabilities stay whole."""
    found: dict[str, Any] = {}
    for path, value in _leaves(WHOLE, prediction):
        if len(found) == _MOST_FIELDS:
            return {WHOLE: prediction}
        found[path] = value
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value and probabilities(value) is None:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), inner)
    elif _is_vector(value) and len(value) <= _MOST_ELEMENTS and probabilities(value) is None:
        for index, inner in enumerate(value):
            yield f"{path}[{index}]", inner
    else:
        yield path, value


def kind_of(value: Any) -> Kind:
    """Return the kind of one value."""
    if isinstance(value, (str, bool)) or value is None:
        return Kind.LABEL
    if isinstance(value, int):
        return Kind.INTEGER
    if isinstance(value, float):
        return Kind.NUMBER
    if probabilities(value) is not None:
        return Kind.PROBABILITIES
    return Kind.VECTOR if _is_vector(value) else Kind.OTHER


def probabilities(value: Any) -> dict[str, float] | None:
    """Return probabilities by class, of an object or list of two numbers or more that sum to 1; else None."""
    if isinstance(value, dict):
        named = value
    elif isinstance(value, list):
        named = {str(index): each for index, each in enumerate(value)}
    else:
        return None
    if len(named) < 2 or not all(_is_share(each) for each in named.values()):
        return None
    return named if abs(math.fsum(named.values()) - 1) <= _SUM_TOLERANCE else None


def most_probable(shares: dict[str, float]) -> str:
    """Return the class with the highest probability, the first of several."""
    return max(shares, key=shares.__getitem__)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def agree(stable: Any, candidate: Any, options: ComparisonOptions) -> bool:
    """Whether two predictions of a row agree.

    Labels must be equal. If there are none, the most probable classes must be; and without those, numbers must be
    within the tolerance. Probabilities and scores beside a label don't count: another version always has other ones.
    """
    one, other = fields(stable), fields(candidate)
    if one.keys() != other.keys():
        return False
    for kinds in ((Kind.LABEL, Kind.INTEGER, Kind.OTHER), (Kind.PROBABILITIES,), (Kind.NUMBER, Kind.VECTOR)):
        paths = [path for path, value in one.items() if _counts_as(value, options) in kinds]
        if paths:
            return all(same(one[path], other[path], options) for path in paths)
    return True


def _counts_as(value: Any, options: ComparisonOptions) -> Kind:
    kind = kind_of(value)
    return Kind.NUMBER if kind is Kind.INTEGER and options.output_kind == "number" else kind


def same(stable: Any, candidate: Any, options: ComparisonOptions) -> bool:
    """Whether two values of a field agree."""
    one, other = probabilities(stable), probabilities(candidate)
    if one is not None and other is not None:
        return most_probable(one) == most_probable(other)
    if is_number(stable) and is_number(candidate):
        if isinstance(stable, int) and isinstance(candidate, int) and options.output_kind != "number":
            return bool(stable == candidate)
        return bool(abs(stable - candidate) <= options.absolute_tolerance + options.relative_tolerance * abs(stable))
    if _is_vector(stable) and _is_vector(candidate):
        return len(stable) == len(candidate) and all(
            same(one, other, options) for one, other in zip(stable, candidate, strict=True)
        )
    # True equals 1 in Python, but not in JSON.
    return type(stable) is type(candidate) and bool(stable == candidate)


def distance(stable: Any, candidate: Any) -> float:
    """Return how far two predictions are apart, to sort them: 1 for each other label, then differences of numbers.

    Numbers count relative to the larger one, probabilities by the largest difference of a class.
    """
    one, other = fields(stable), fields(candidate)
    return sum(_distance(one.get(path), other.get(path)) for path in one.keys() | other.keys())


def _distance(one: Any, other: Any) -> float:
    shares, others = probabilities(one), probabilities(other)
    if shares is not None and others is not None:
        return max(abs(shares.get(name, 0.0) - others.get(name, 0.0)) for name in shares.keys() | others.keys())
    if isinstance(one, float) and is_number(one) and is_number(other):
        return abs(one - other) / max(abs(one), abs(other), 1e-12) if one != other else 0.0
    if _is_vector(one) and _is_vector(other) and len(one) == len(other):
        return max(map(_distance, map(float, one), map(float, other)))
    return 0.0 if type(one) is type(other) and one == other else 1.0


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_number, value))


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e-9 <= value <= 1 + 1e-9
