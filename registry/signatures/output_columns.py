"""Predictions as columns: the name, dtype, shape and values of each output; imports no numpy.

A prediction that is an object has a column for each of its members; any other has one column. A member that is itself
an object of values is a column of lists, in the order of its keys. Values without a common dtype and shape are JSON
text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypedDict

from registry.signatures.input_checks import Dtype

#: The name of the output if predictions are not objects.
ONLY_OUTPUT = "output"
#: Descriptions with more bytes of JSON are not reported.
MAX_DESCRIPTION_BYTES = 16 * 1024
_INT64 = range(-(2**63), 2**63)
_DTYPES = {frozenset({bool}): Dtype.BOOL, frozenset({str}): Dtype.STR}
_NUMBERS = frozenset({int, float})


class OutputDescription(TypedDict):
    """The description of one output of a model, for one row."""

    name: str
    dtype: Dtype
    shape: list[int]
    #: Names of the elements of its last dimension; None if it is not an object.
    keys: list[str] | None
    #: Whether each value is the JSON text of an output.
    as_json: bool


@dataclass(frozen=True)
class Column:
    """One output of all rows: its values in row-major order; `shape` begins with the number of rows."""

    name: str
    dtype: Dtype
    shape: list[int]
    values: list[Any]
    keys: list[str] | None = None
    as_json: bool = False


def columns_of(predictions: Sequence[Any]) -> list[Column]:
    """Return one or more predictions, which are JSON values, as columns."""
    names = _common_keys(predictions)
    if not names:
        return [_column(ONLY_OUTPUT, list(predictions))]
    return [_column(name, [each[name] for each in predictions]) for name in names]


def description_of(prediction: Any) -> list[OutputDescription] | None:
    """Describe the model's outputs from one prediction; None if the description is too long or not Unicode."""
    description: list[OutputDescription] = [
        {"name": each.name, "dtype": each.dtype, "shape": each.shape[1:], "keys": each.keys, "as_json": each.as_json}
        for each in columns_of([prediction])
    ]
    try:
        size_bytes = len(json.dumps(description, ensure_ascii=False).encode())
    except UnicodeEncodeError:  # a name holds half of a surrogate pair
        return None
    return description if size_bytes <= MAX_DESCRIPTION_BYTES else None


def _common_keys(values: Sequence[Any]) -> list[str] | None:
    """Return the keys of objects that all have the same keys, in the order of the first; else None."""
    if not all(isinstance(each, dict) for each in values):
        return None
    first = values[0]
    return list(first) if all(each.keys() == first.keys() for each in values) else None


def _column(name: str, values: list[Any]) -> Column:
    keys = _common_keys(values)
    plain = _plain(name, [[each[key] for key in keys] for each in values] if keys else values, keys or None)
    if plain is not None:
        return plain
    texts = [json.dumps(each, allow_nan=False, separators=(",", ":")) for each in values]
    return Column(name, Dtype.STR, [len(values)], texts, as_json=True)


def _plain(name: str, values: list[Any], keys: list[str] | None) -> Column | None:
    """Return a column of values, or lists (of lists) of equal length, of one dtype; None if they don't match."""
    shape = [len(values)]
    while values and all(isinstance(each, list) for each in values):
        lengths = set(map(len, values))
        if len(lengths) != 1:
            return None
        shape += lengths
        values = list(chain.from_iterable(values))
    dtype = _dtype(values)
    if dtype is Dtype.FLOAT:
        values = list(map(float, values))
    return None if dtype is None else Column(name, dtype, shape, values, keys)


def _dtype(values: list[Any]) -> Dtype | None:
    types = frozenset(map(type, values))
    if types in _DTYPES:
        return _DTYPES[types]
    if not types or not types <= _NUMBERS:
        return None
    if float in types:
        return None if int in types and not all(map(_is_float, values)) else Dtype.FLOAT
    return Dtype.INT if min(values) in _INT64 and max(values) in _INT64 else None


def _is_float(value: float) -> bool:
    """Whether a number can be a float without rounding, unlike some large integers."""
    return float(value) == value
