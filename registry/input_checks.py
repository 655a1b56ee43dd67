"""Checking values against a dtype and a shape, at the speed of the hot path and without numpy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from math import isfinite
from typing import Any

from registry.descriptions import describe
from registry.errors import InputInvalid

Shape = tuple[int | None, ...]
_MAX_FLOAT = int(sys.float_info.max)
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1


class Dtype(StrEnum):
    """What one value is."""

    #: A finite number; integers are numbers too.
    FLOAT = "float"
    #: A whole number that 64 bits hold.
    INT = "int"
    #: true or false.
    BOOL = "bool"
    #: Text.
    STR = "str"


#: Singular and plural of what belongs in a place.
_EXPECTED: Mapping[Dtype, tuple[str, str]] = {
    Dtype.FLOAT: ("a finite number", "finite numbers"),
    Dtype.INT: ("an integer of at most 64 bits", "integers of at most 64 bits"),
    Dtype.BOOL: ("true or false", "values that are true or false"),
    Dtype.STR: ("a string of Unicode text", "strings of Unicode text"),
}


def check_value(value: Any, dtype: Dtype, shape: Shape, path: str) -> None:
    """Check a value of a shape: () is one value, (n,) a list, (n, m) a list of lists; None is any length but 0.

    Raises:
        InputInvalid: names the first place that is wrong.
    """
    if not shape:
        if not _IS_ONE[dtype](value):
            raise InputInvalid(path, _EXPECTED[dtype][0], describe(value))
    elif len(shape) == 1:
        _check_vector(value, dtype, shape[0], path)
    else:
        _check_tensor(value, dtype, list(shape), 0, path)


def _check_vector(value: Any, dtype: Dtype, length: int | None, path: str) -> None:
    _check_list(value, length, _EXPECTED[dtype][1], path)
    if _ARE_ALL[dtype](value):
        return
    is_one = _IS_ONE[dtype]
    for index, each in enumerate(value):
        if not is_one(each):
            raise InputInvalid(f"{path}[{index}]", _EXPECTED[dtype][0], describe(each))


def _check_tensor(value: Any, dtype: Dtype, lengths: list[int | None], depth: int, path: str) -> None:
    if depth == len(lengths) - 1:
        _check_vector(value, dtype, lengths[depth], path)
    else:
        _check_list(value, lengths[depth], "lists", path)
        for index, each in enumerate(value):
            _check_tensor(each, dtype, lengths, depth + 1, f"{path}[{index}]")
    # A free length is free once: rows of one tensor are equally long.
    lengths[depth] = len(value)


def _check_list(value: Any, length: int | None, content: str, path: str) -> None:
    if isinstance(value, (list, tuple)) and (len(value) == length or (length is None and value)):
        return
    expected = f"a list of {length} {content}" if length is not None else f"a list of one or more {content}"
    raise InputInvalid(path, expected, describe(value))


def _is_float(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -_MAX_FLOAT <= value <= _MAX_FLOAT


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and _MIN_INT64 <= value <= _MAX_INT64


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_str(value: Any) -> bool:
    # JSON can carry half of a surrogate pair, which no text encoding takes.
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value))


# Each of these answers for a whole list at C speed; when it says no, a slow loop finds the place.


def _are_floats(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    return kinds <= _NUMBERS and (int not in kinds or _are_small(values)) and all(map(isfinite, values))


def _are_small(values: list[Any]) -> bool:
    return not any(isinstance(each, int) and not -_MAX_FLOAT <= each <= _MAX_FLOAT for each in values)


def _are_ints(values: list[Any]) -> bool:
    return set(map(type, values)) == _INTEGER and min(values) >= _MIN_INT64 and max(values) <= _MAX_INT64


def _are_bools(values: list[Any]) -> bool:
    return set(map(type, values)) == _BOOLEAN


def _are_strings(values: list[Any]) -> bool:
    return set(map(type, values)) == _STRING and all(map(str.isascii, values))


_NUMBERS, _INTEGER, _BOOLEAN, _STRING = {float, int}, {int}, {bool}, {str}
_IS_ONE: Mapping[Dtype, Callable[[Any], bool]] = {
    Dtype.FLOAT: _is_float,
    Dtype.INT: _is_int,
    Dtype.BOOL: _is_bool,
    Dtype.STR: _is_str,
}
_ARE_ALL: Mapping[Dtype, Callable[[list[Any]], bool]] = {
    Dtype.FLOAT: _are_floats,
    Dtype.INT: _are_ints,
    Dtype.BOOL: _are_bools,
    Dtype.STR: _are_strings,
}
