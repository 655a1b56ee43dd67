"""Predictions as output tensors, and what metadata says of them; knows neither HTTP nor jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from api.errors import FieldProblem, RequestInvalid
from api.v2.datatypes import OF_DTYPE
from api.v2.schemas import RequestedOutput
from registry.signatures.input_checks import Dtype
from registry.signatures.output_columns import ONLY_OUTPUT, Column, columns_of

#: The output parameter that says: each element is JSON text.
_AS_JSON = "json"
#: The output parameter that names what stands in the last dimension: a list, as JSON text.
_KEYS = "keys"


def tensors_of(predictions: Sequence[Any], requested: Sequence[RequestedOutput]) -> list[dict[str, Any]]:
    """Return the outputs that are requested, all of them by default; `data` is flat, in row-major order.

    Raises:
        RequestInvalid: a requested output is not there; names those that are.
    """
    return [_tensor(each) for each in _wanted(columns_of(predictions), requested)]


def described(name: str, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    """Return what metadata says of an input or output; the first dimension is the batch."""
    return {"name": name, "datatype": OF_DTYPE[Dtype(dtype)], "shape": [-1, *shape]}


def parameters_of(keys: Sequence[str] | None, *, as_json: bool) -> Mapping[str, Any]:
    """Return the parameters of an output."""
    if as_json:
        return {_AS_JSON: True}
    return {} if keys is None else {_KEYS: json.dumps(keys)}


def _wanted(columns: list[Column], requested: Sequence[RequestedOutput]) -> list[Column]:
    if not requested:
        return columns
    by_name = {each.name: each for each in columns}
    if len(requested) == 1 and list(by_name) == [ONLY_OUTPUT]:
        # As with inputs: an output that has no name of its own goes by the name that it is asked for.
        by_name = {requested[0].name: replace(columns[0], name=requested[0].name)}
    problems = [
        FieldProblem(f"outputs[{index}].name", f"is {each.name[:100]!r}; the outputs are {', '.join(by_name)[:500]}")
        for index, each in enumerate(requested)
        if each.name not in by_name
    ]
    if problems:
        raise RequestInvalid(problems)
    return [by_name[name] for name in dict.fromkeys(each.name for each in requested)]


def _tensor(column: Column) -> dict[str, Any]:
    tensor = {
        "name": column.name,
        "datatype": OF_DTYPE[column.dtype],
        "shape": column.shape,
        "data": column.values,
    }
    parameters = parameters_of(column.keys, as_json=column.as_json)
    return {**tensor, "parameters": dict(parameters)} if parameters else tensor
