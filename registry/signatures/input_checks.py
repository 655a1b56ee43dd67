"""Checks values against rules and shapes, fast enough for the hot path and without numpy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any, Optional, Union

from registry.errors import InputInvalid
from registry.signatures.descriptions import describe, shortened
from registry.signatures.enums import StrEnum
from registry.signatures.number_types import FLOAT_MAX, FLOAT_OVERFLOWS_AT, INTEGER_BOUNDS, Storage

Shape = tuple[Optional[int], ...]
Category = Union[str, int]
_MAX_FLOAT = int(sys.float_info.max)
_MIN_INT64, _MAX_INT64 = INTEGER_BOUNDS[Storage.INT64]


class Dtype(StrEnum):
    """The type of a value."""

    #: A finite number, also an integer.
    FLOAT = "float"
    #: An integer of at most 64 bits.
    INT = "int"
    #: true or false.
    BOOL = "bool"
    #: Text.
    STR = "str"


@dataclass(frozen=True)
class Rule:
    """The rule for a value of an input: functions to check one or many values, and descriptions for errors."""

    is_one: Callable[[Any], bool]
    #: May be false for valid values; then `is_one` decides.
    are_all: Callable[[list[Any]], bool]
    one: str
    many: str


@lru_cache(maxsize=10_000)
def rule_of(
    dtype: Dtype,
    storage: Storage | None = None,
    categories: tuple[Category, ...] | None = None,
    *,
    nullable: bool = False,
) -> Rule:
    """Return the rule for values of a dtype, within the bounds of a storage, of some categories, or null."""
    if categories is not None:
        made = _one_of(dtype, categories)
    elif storage is not None:
        made = _stored_as(storage)
    else:
        made = Rule(_IS_ONE[dtype], _ARE_ALL[dtype], *_EXPECTED[dtype])
    return _or_null(made) if nullable else made


#: Singular and plural of the expected values.
_EXPECTED: Mapping[Dtype, tuple[str, str]] = {
    Dtype.FLOAT: ("a finite number", "finite numbers"),
    Dtype.INT: ("an integer of at most 64 bits", "integers of at most 64 bits"),
    Dtype.BOOL: ("true or false", "values that are true or false"),
    Dtype.STR: ("a string of Unicode text", "strings of Unicode text"),
}


def check_value(value: Any, rule: Rule, shape: Shape, path: str) -> None:
    """Check a value of a shape: () is a single value, (n,) a list, (n, m) a list of lists; None is any length except 0.

    Raises:
        InputInvalid: the first invalid value, with its field.
    """
    if not shape:
        if not rule.is_one(value):
            raise InputInvalid(path, rule.one, describe(value))
    elif len(shape) == 1:
        _check_vector(value, rule, shape[0], path)
    else:
        _check_tensor(value, rule, list(shape), 0, path)


def _check_vector(value: Any, rule: Rule, length: int | None, path: str) -> None:
    _check_list(value, length, rule.many, path)
    if rule.are_all(value):
        return
    for index, each in enumerate(value):
        if not rule.is_one(each):
            raise InputInvalid(f"{path}[{index}]", rule.one, describe(each))


def _check_tensor(value: Any, rule: Rule, lengths: list[int | None], depth: int, path: str) -> None:
    if depth == len(lengths) - 1:
        _check_vector(value, rule, lengths[depth], path)
    else:
        _check_list(value, lengths[depth], "lists", path)
        for index, each in enumerate(value):
            _check_tensor(each, rule, lengths, depth + 1, f"{path}[{index}]")
    # The first row determines a free length: all rows of a tensor have the same length.
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
    # JSON can contain half of a surrogate pair, which no encoding supports.
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value))


# These check a whole list at C speed; if one is false, a slow loop finds the invalid value.


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


def _stored_as(storage: Storage) -> Rule:
    return _floats(storage) if storage.is_float else _integers(storage)


def _floats(storage: Storage) -> Rule:
    limit = FLOAT_OVERFLOWS_AT.get(storage)
    most = f"{FLOAT_MAX[storage]:.8g}"
    words = f"from -{most} to {most} ({storage})"
    one, many = f"a number {words}", f"numbers {words}"
    if limit is None:
        return Rule(_is_float, _are_floats, one, many)

    def is_one(value: Any) -> bool:
        return _is_float(value) and -limit < value < limit

    def are_all(values: list[Any]) -> bool:
        return _are_floats(values) and -limit < min(values) and max(values) < limit

    return Rule(is_one, are_all, one, many)


def _integers(storage: Storage) -> Rule:
    least, most = INTEGER_BOUNDS[storage]
    words = f"from {least} to {most} ({storage})"

    def is_one(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    def are_all(values: list[Any]) -> bool:
        return set(map(type, values)) == _INTEGER and min(values) >= least and max(values) <= most

    return Rule(is_one, are_all, f"an integer {words}", f"integers {words}")


def _one_of(dtype: Dtype, categories: tuple[Category, ...]) -> Rule:
    known, is_right = frozenset(categories), _IS_ONE[dtype]
    words = shortened(", ".join(map(repr, categories)))

    def is_one(value: Any) -> bool:
        return is_right(value) and value in known  # 1.0 and true equal 1, but are not integers

    def are_all(values: list[Any]) -> bool:
        return all(map(is_one, values))

    return Rule(is_one, are_all, f"one of the categories {words}", f"values of the categories {words}")


def _or_null(inner: Rule) -> Rule:
    def is_one(value: Any) -> bool:
        return value is None or inner.is_one(value)

    def are_all(values: list[Any]) -> bool:
        given = [each for each in values if each is not None]
        return not given or inner.are_all(given)

    return Rule(is_one, are_all, f"{inner.one}, or null", f"{inner.many}, or nulls")
