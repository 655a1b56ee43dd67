"""Predictions to output tensors; knows neither HTTP nor jobs.

A prediction that is an object gives an output for each of its members, anything else gives one output. The
first dimension is the batch, as in inputs. What no datatype can say is JSON text in BYTES.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

#: What the output of a model is called whose prediction is no object.
ONLY_OUTPUT = "output"
#: The output parameter that says: each element is JSON text.
AS_JSON = "json"
#: The output parameter that names what stands in each column, as a list in JSON text.
KEYS = "keys"
_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)
_DATATYPES = {frozenset({bool}): "BOOL", frozenset({str}): "BYTES"}
_NUMBERS = frozenset({int, float})


@dataclass(frozen=True)
class OutputTensor:
    """One output: its elements are in row-major order, and its first dimension is the batch."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]
    parameters: dict[str, Any]


def tensors_of(predictions: Sequence[Any]) -> list[OutputTensor]:
    """Return the outputs that say what these predictions, one or more, say."""
    names = _common_keys(predictions)
    if not names:
        return [_tensor(ONLY_OUTPUT, list(predictions))]
    return [_tensor(name, [each[name] for each in predictions]) for name in names]


def _common_keys(values: Sequence[Any]) -> list[str] | None:
    """Return the keys of objects that all have the same ones, in the first one's order."""
    if not all(isinstance(each, dict) for each in values):
        return None
    first = values[0]
    return list(first) if all(each.keys() == first.keys() for each in values) else None


def _tensor(name: str, values: list[Any]) -> OutputTensor:
    keys = _common_keys(values)
    if keys:
        plain = _plain(name, [[each[key] for key in keys] for each in values], {KEYS: json.dumps(keys)})
    else:
        plain = _plain(name, values, {})
    if plain is not None:
        return plain
    texts = [json.dumps(each, allow_nan=False, separators=(",", ":")) for each in values]
    return OutputTensor(name, "BYTES", [len(values)], texts, {AS_JSON: True})


def _plain(name: str, values: list[Any], parameters: dict[str, Any]) -> OutputTensor | None:
    """Return a tensor of values, or equally long lists (of lists) of values, of one kind; None if they aren't."""
    shape = [len(values)]
    while values and all(isinstance(each, list) for each in values):
        lengths = set(map(len, values))
        if len(lengths) != 1:
            return None
        shape += lengths
        values = list(chain.from_iterable(values))
    datatype = _datatype(values)
    if datatype == "FP64":
        values = list(map(float, values))
    return None if datatype is None else OutputTensor(name, datatype, shape, values, parameters)


def _datatype(values: list[Any]) -> str | None:
    types = frozenset(map(type, values))
    if types in _DATATYPES:
        return _DATATYPES[types]
    if not types or not types <= _NUMBERS:
        return None
    if float in types:
        return "FP64"
    if min(values) in _INT64 and max(values) in _INT64:
        return "INT64"
    return "UINT64" if min(values) in _UINT64 and max(values) in _UINT64 else None
