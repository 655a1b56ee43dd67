"""Takes two predictions apart into fields, and finds for each what it is: a label, a number or probabilities.

The kind of a field follows from its values in both versions:

- strings, booleans and null are labels;
- integers may be labels or numbers: the report decides, by how many different ones there are;
- other numbers are numbers;
- a list or an object of two or more numbers from 0 to 1, not all integers, with the sum 1 is probabilities of classes;
- a number from 0 to 1 is a probability if its name says so (`probability`, `confidence`, `score` …), or if it stands in
  an object beside a label;
- values of which only one is a number, lists of different lengths, and what is nested too deep are "other".

`ComparisonOptions.kinds` overrides it for a path. `kinds_of` makes it from a model's description of its outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from registry.signatures.input_checks import Dtype
from registry.signatures.output_columns import ONLY_OUTPUT, OutputDescription
from workers.judging.comparison.pairs import ComparisonOptions

_MAX_DEPTH = 8
_LARGEST = 1e150
#: Larger integers are probably numbers.
_LARGEST_LABEL = 50
#: How far the sum of probabilities may be from 1: those of ten classes may be rounded to three digits.
_SUM_TOLERANCE = 0.01
_NAMES_OF_PROBABILITIES = frozenset({"probability", "probabilities", "proba", "prob", "p", "confidence", "score"})


#: In `kinds`: a number that is no label even if it is an integer.
_FLOAT = "float"


class LeafKind(StrEnum):
    """What a field is in one row."""

    #: A string, a boolean or null.
    LABEL = "label"
    #: A label or a number.
    INTEGER = "integer"
    #: A number.
    NUMBER = "number"
    #: The probability of one thing.
    PROBABILITY = "probability"
    #: Those of all classes.
    PROBABILITIES = "probabilities"
    #: Values that can only be equal or not.
    OTHER = "other"


#: The kinds that `ComparisonOptions.kinds` may give to numbers.
_GIVEN = frozenset({LeafKind.LABEL, LeafKind.NUMBER, LeafKind.PROBABILITY})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field of the predictions of both versions for one row."""

    path: str
    kind: LeafKind
    stable: Any
    candidate: Any

    def agrees(self, options: ComparisonOptions, *, integers_are_numbers: bool = False) -> bool:
        """Whether the versions agree in this field."""
        first, second = self.stable, self.candidate
        if self.kind is LeafKind.NUMBER or (self.kind is LeafKind.INTEGER and integers_are_numbers):
            return numbers_agree(first, second, options)
        if self.kind is LeafKind.PROBABILITY:
            same_side = bool((first > options.threshold) == (second > options.threshold))
            return same_side and self.distance <= options.probability_tolerance
        if self.kind is LeafKind.PROBABILITIES:
            return self.distance <= options.probability_tolerance and bool(winner(first) == winner(second))
        return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)

    @property
    def distance(self) -> float:
        """How far the answers are apart, from 0 to 1: 1 for another label, the relative difference of numbers."""
        first, second = self.stable, self.candidate
        if self.kind is LeafKind.PROBABILITIES:
            return max(abs(one - other) for one, other in zip(_values(first), _values(second), strict=True))
        if self.kind is LeafKind.PROBABILITY:
            return float(abs(first - second))
        if self.kind is LeafKind.NUMBER or (self.kind is LeafKind.INTEGER and max(first, second) > _LARGEST_LABEL):
            return min(1.0, relative_difference(first, second))
        return 0.0 if first == second else 1.0


def numbers_agree(first: float, second: float, options: ComparisonOptions) -> bool:
    """Whether two numbers are equal within the tolerance."""
    allowed = max(options.absolute_tolerance, options.relative_tolerance * max(abs(first), abs(second)))
    return abs(first - second) <= allowed


def relative_difference(first: float, second: float) -> float:
    """Return the difference as a share of the larger number; 0 if both are 0."""
    largest = max(abs(first), abs(second))
    return abs(first / largest - second / largest) if largest else 0.0


def winner(probabilities: Any) -> Any:
    """Return the class with the largest probability: its key or its index; the first of equal ones."""
    if isinstance(probabilities, Mapping):
        return max(probabilities, key=probabilities.__getitem__)
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def leaves(stable: Any, candidate: Any, options: ComparisonOptions) -> Iterator[Leaf]:
    """Return the fields of two predictions for one row."""
    return _Walk(options).leaves(stable, candidate, "", 0)


def kinds_of(outputs: Iterable[OutputDescription]) -> dict[str, str]:
    """Return what a model's description of its outputs decides, for `ComparisonOptions.kinds`.

    JSON may have lost the fraction of a float (2.0 as 2), which is no label then.
    """
    return {each["name"]: _FLOAT for each in outputs if each["dtype"] is Dtype.FLOAT and not each["as_json"]}


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number to calculate with; integers beyond floats are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def are_probabilities(value: Any) -> bool:
    """Whether a value is probabilities of all classes."""
    if not isinstance(value, (list, Mapping)) or len(value) < 2:
        return False
    values = _values(value)
    if not all(is_number(each) and 0 <= each <= 1 for each in values) or all(isinstance(each, int) for each in values):
        return False
    return abs(sum(values) - 1) <= _SUM_TOLERANCE


def label_text(value: Any) -> str:
    """Return a label as text: strings as they are, others as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _values(probabilities: Any) -> Sequence[float]:
    if isinstance(probabilities, Mapping):
        return [probabilities[key] for key in sorted(probabilities)]
    return list(probabilities)


class _Walk:
    """Goes through two predictions together."""

    def __init__(self, options: ComparisonOptions) -> None:
        self._options = options

    def leaves(self, first: Any, second: Any, path: str, depth: int, *, beside_label: bool = False) -> Iterator[Leaf]:
        if are_probabilities(first) and are_probabilities(second) and _shape(first) == _shape(second):
            yield Leaf(path or ONLY_OUTPUT, LeafKind.PROBABILITIES, first, second)
        elif isinstance(first, Mapping) and isinstance(second, Mapping) and first and second and depth < _MAX_DEPTH:
            yield from self._members(first, second, path, depth)
        elif _are_equally_long(first, second) and depth < _MAX_DEPTH:
            for one, other in zip(first, second, strict=True):
                yield from self.leaves(one, other, f"{path or ONLY_OUTPUT}[]", depth + 1)
        else:
            place = path or ONLY_OUTPUT
            yield Leaf(place, self._kind(first, second, place, beside_label=beside_label), first, second)

    def _members(self, first: Mapping[str, Any], second: Mapping[str, Any], path: str, depth: int) -> Iterator[Leaf]:
        beside_label = any(isinstance(each, (str, bool)) for each in first.values())
        for name in [*first, *(each for each in second if each not in first)]:
            place = f"{path}.{name}" if path else name
            if name in first and name in second:
                yield from self.leaves(first[name], second[name], place, depth + 1, beside_label=beside_label)
            else:
                yield Leaf(place, LeafKind.OTHER, _member(first, name), _member(second, name))

    def _kind(self, first: Any, second: Any, path: str, *, beside_label: bool) -> LeafKind:
        if not (is_number(first) and is_number(second)):
            plain = all(each is None or isinstance(each, (str, bool)) for each in (first, second))
            return LeafKind.LABEL if plain else LeafKind.OTHER
        given = self._options.kinds.get(path)
        if given in _GIVEN:
            return LeafKind(given)
        if isinstance(first, int) and isinstance(second, int) and given != _FLOAT:
            return LeafKind.INTEGER
        named = path.rpartition(".")[2].lower() in _NAMES_OF_PROBABILITIES
        if (named or beside_label) and 0 <= first <= 1 and 0 <= second <= 1:
            return LeafKind.PROBABILITY
        return LeafKind.NUMBER


def _are_equally_long(first: Any, second: Any) -> bool:
    return isinstance(first, list) and isinstance(second, list) and len(first) == len(second) > 0


def _member(value: Mapping[str, Any], name: str) -> list[Any]:
    """Return the member as a list, which is empty if there is none."""
    return [value[name]] if name in value else []


def _shape(value: Any) -> object:
    return set(value) if isinstance(value, Mapping) else len(value)
