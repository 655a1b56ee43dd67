"""Predictions as columns: what each output is called, what its values are and of which shape; loads no numpy.

A prediction that is an object gives a column for each of its members, anything else gives one. A member that is
itself an object of values is a column of lists, in the order of its keys. What is of no one dtype and shape is
JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypedDict

from registry.input_checks import Dtype

#: What the only output of a model is called whose predictions are no objects.
ONLY_OUTPUT = "output"
#: A description with more bytes of JSON than this is not worth sending about.
MAX_DESCRIPTION_BYTES = 16 * 1024
_INT64 = range(-(2**63), 2**63)
_DTYPES = {frozenset({bool}): Dtype.BOOL, frozenset({str}): Dtype.STR}
_NUMBERS = frozenset({int, float})


class OutputDescription(TypedDict):
    """What a model answers for one row, in one of its outputs."""

    name: str
    dtype: Dtype
    shape: list[int]
    #: Names of what stands in its last dimension; None if it was no object.
    keys: list[str] | None
    #: Whether each value is JSON text of what was answered.
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
    """Return the columns that say what these predictions, one or more JSON values, say."""
    names = _common_keys(predictions)
    if not names:
        return [_column(ONLY_OUTPUT, list(predictions))]
    return [_column(name, [each[name] for each in predictions]) for name in names]


def description_of(prediction: Any) -> list[OutputDescription] | None:
    """Return what one prediction shows of the model's outputs; None if that is too much to tell, or no text."""
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
    """Return the keys of objects that all have the same ones, in the first one's order."""
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
    """Return a column of values, or equally long lists (of lists) of values, of one dtype; None if they aren't."""
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
        return Dtype.FLOAT
    return Dtype.INT if min(values) in _INT64 and max(values) in _INT64 else None
