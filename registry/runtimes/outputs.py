"""Turning what a model returns into JSON values; imports no numpy, and walks nothing without a bound."""

from __future__ import annotations

from math import isfinite
from typing import Any

from registry.descriptions import describe
from registry.errors import OutputInvalid

MAX_DEPTH = 32
#: Python refuses to write integers that are much longer, and no client reads them.
_LARGEST_INTEGER = 2**64
_FLOAT = {float}


def to_json(value: Any, path: str = "prediction") -> Any:
    """Return the value as null, booleans, finite numbers, text, lists and objects; numpy's kinds are converted.

    Raises:
        OutputInvalid: JSON has no word for it: NaN, infinity, a date, a set, an object of some class.
    """
    return _converted(value, path, MAX_DEPTH)


def rows_to_json(outputs: Any, row_count: int) -> list[Any]:
    """Return a batch's outputs as a list of JSON values, one for each row.

    Raises:
        OutputInvalid: it is not a list of that length, or an output can't be said in JSON.
    """
    converted = to_json(outputs, "predictions")
    if not isinstance(converted, list) or len(converted) != row_count:
        raise OutputInvalid(
            f"The model must return a list of {row_count} outputs for {row_count} rows; "
            f"it returned {describe(converted)}."
        )
    return converted


def _converted(value: Any, path: str, depth: int) -> Any:
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, (int, float)):
        return _number(value, path)
    if depth == 0:
        raise OutputInvalid(f"{path.partition('[')[0]} is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, (list, tuple)):
        return _list(value, path, depth)
    if isinstance(value, dict):
        return {_key(name, path): _converted(each, f"{path}.{name}", depth - 1) for name, each in value.items()}
    return str(value) if isinstance(value, str) else _converted_numpy(value, path, depth)


def _list(values: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
    if set(map(type, values)) == _FLOAT and all(map(isfinite, values)):
        return list(values)
    return [_converted(each, f"{path}[{index}]", depth - 1) for index, each in enumerate(values)]


def _converted_numpy(value: Any, path: str, depth: int) -> Any:
    # numpy's own kinds by the name of their module: this process may have none of them loaded.
    if type(value).__module__ != "numpy" or not hasattr(value, "tolist") or value.dtype.kind not in "biufUO":
        raise _invalid(value, path)
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:  # tolist would leave it numpy's
        value = value.astype("float64")
    plain = value.tolist()
    return _converted(plain, path, depth - 1)


def _number(value: float, path: str) -> int | float | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise _invalid(value, path)
        return int(value)
    if not isfinite(value):
        raise _invalid(value, path)
    return float(value)


def _key(name: Any, path: str) -> str:
    plain = _converted(name, path, 1) if not isinstance(name, (list, tuple, dict)) else None
    if plain is None or isinstance(plain, (list, dict)):
        raise OutputInvalid(f"{path} has a field whose name is {describe(name)}; JSON has only text there.")
    return plain if isinstance(plain, str) else str(plain).lower() if isinstance(plain, bool) else str(plain)


def _invalid(value: object, path: str) -> OutputInvalid:
    return OutputInvalid(f"{path} is {describe(value)}, which JSON can't say.")
