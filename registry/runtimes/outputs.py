"""Converts outputs of models to JSON values, with a limit on nesting; imports no numpy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from math import isfinite
from typing import Any

from registry.errors import OutputInvalid
from registry.signatures.descriptions import describe, shortened

MAX_DEPTH = 32
#: Python refuses to format much longer integers.
_LARGEST_INTEGER = 2**64
_FLOAT = {float}
_TEXT = {str}
_AS_THEY_ARE = {bool, str}
_ONE_VALUE = {bool, str, float, type(None), int}


def to_json(value: Any, path: str = "prediction") -> Any:
    """Convert a value to null, booleans, finite numbers, text, lists and objects, also from numpy.

    Raises:
        OutputInvalid: it is not JSON-serializable: NaN, infinity, a date, a set, an object of another class.
    """
    return _converted(value, path, MAX_DEPTH)


def rows_to_json(outputs: Any, row_count: int) -> list[Any]:
    """Return a batch's outputs as a list of JSON values, one for each row.

    Raises:
        OutputInvalid: it is not a list of that length, or an output is not JSON-serializable.
    """
    converted = to_json(outputs, "predictions")
    if not isinstance(converted, list) or len(converted) != row_count:
        raise OutputInvalid(
            f"The model must return a list of {row_count} outputs for {row_count} rows; "
            f"it returned {describe(converted)}."
        )
    return converted


def is_json(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Whether a value has only JSON's own types, within the limits of `to_json`.

    It doesn't check for NaN and infinity, which an encoder can refuse.
    """
    kind = type(value)
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list:
        return kind in _ONE_VALUE and (kind is not int or abs(value) <= _LARGEST_INTEGER)
    if levels == 0:
        return False
    kinds = set(map(type, value))
    if not kinds <= _ONE_VALUE:
        return all(is_json(each, levels - 1) for each in value)
    integers = [each for each in value if type(each) is int] if int in kinds else []
    return not integers or (min(integers) >= -_LARGEST_INTEGER and max(integers) <= _LARGEST_INTEGER)


def names_of(values: Iterable[Any], path: str) -> list[str]:
    """Return values as names of an object's members: text unchanged, numbers and booleans in their JSON form.

    Raises:
        OutputInvalid: one is neither text, number nor boolean, or two have the same name, as 1 and "1".
    """
    names = [_name(value, path) for value in values]
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise OutputInvalid(
            f"{path} has two fields whose names become the same text, {shortened(twice)!r}, and JSON can hold one."
        )
    return names


def _converted(value: Any, path: str, depth: int) -> Any:
    if value is None or type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, str):
        # Not str(): subclasses of text and numbers may override it, as enumerations do.
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return _number(value, path)
    if depth == 0:
        raise OutputInvalid(f"{path.partition('[')[0]} is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, (list, tuple)):
        return _list(value, path, depth)
    if isinstance(value, dict):
        return _object(value, path, depth)
    return _converted_numpy(value, path, depth)


def _object(value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    members = list(value.items())
    names = [name for name, _ in members]
    if not _TEXT.issuperset(map(type, names)):
        names = names_of(names, path)
    return {name: _converted(each, f"{path}.{name}", depth - 1) for name, (_, each) in zip(names, members)}


def _list(values: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
    if set(map(type, values)) == _FLOAT and all(map(isfinite, values)):
        return list(values)
    return [_converted(each, f"{path}[{index}]", depth - 1) for index, each in enumerate(values)]


def _converted_numpy(value: Any, path: str, depth: int) -> Any:
    # Recognise numpy's types by module name, since numpy may not be imported.
    if type(value).__module__ != "numpy" or not hasattr(value, "tolist") or value.dtype.kind not in "biufUO":
        raise _invalid(value, path)
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:  # tolist would return numpy's type
        value = value.astype("float64")
    plain = value.tolist()
    return _converted(plain, path, depth - 1)


def _number(value: float, path: str) -> int | float:
    if isinstance(value, int):
        plain = int.__int__(value)
        if abs(plain) > _LARGEST_INTEGER:
            raise _invalid(plain, path)
        return plain
    plain_float = float.__float__(value)
    if not isfinite(plain_float):
        raise _invalid(plain_float, path)
    return plain_float


def _name(value: Any, path: str) -> str:
    if value is not None and not isinstance(value, (list, tuple, dict)):
        with suppress(OutputInvalid):
            plain = _converted(value, path, 1)
            if isinstance(plain, str):
                return plain
            if isinstance(plain, (int, float)):
                return str(plain).lower() if isinstance(plain, bool) else str(plain)
    raise OutputInvalid(f"{path} has a field whose name is {describe(value)}; names in JSON must be text.")


def _invalid(value: object, path: str) -> OutputInvalid:
    return OutputInvalid(f"{path} is {describe(value)}, which is not JSON-serializable.")
