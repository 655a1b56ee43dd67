"""Converts cells to values by the dtype of their field: texts, as files have them, or values of a data frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isinf, isnan
from typing import Any

#: What stands for a missing value.
MISSING = object()
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EXPECTED = {
    "float": "a number",
    "int": "an integer",
    "bool": "true or false",
    "str": "text",
}
_CATEGORIES_SHOWN = 5
Convert = Callable[[Any], Any]


def expected(field: Mapping[str, Any]) -> str:
    """Say what a cell of a field must be."""
    if field.get("shape"):
        return "a list in JSON"
    categories = field.get("categories")
    if categories is None:
        return _EXPECTED[field["dtype"]]
    more = ", …" if len(categories) > _CATEGORIES_SHOWN else ""
    return f"one of {', '.join(map(str, categories[:_CATEGORIES_SHOWN]))}{more}"


def converter(field: Mapping[str, Any], *, texts: bool) -> Convert:
    """Return what makes a value, or MISSING, of a cell; it raises ValueError for a cell that is not as `expected`.

    Numbers are checked for their bounds by the service alone.
    """
    one = _of_text(field) if texts else _of_value(field)
    categories = field.get("categories")
    if categories is None:
        return one
    known = frozenset(categories)

    def of_category(cell: Any) -> Any:
        value = one(cell)
        if value is not MISSING and value not in known:
            raise ValueError
        return value

    return of_category


def _of_text(field: Mapping[str, Any]) -> Convert:
    if field.get("shape"):
        return _list
    return {"float": _number, "int": _integer, "bool": _truth, "str": _text}[field["dtype"]]


def _text(cell: str) -> Any:
    return cell or MISSING


def _number(cell: str) -> Any:
    text = cell.strip()
    if not text:
        return MISSING
    digits = text[1:] if text[0] in "+-" else text
    if digits.isdecimal() and digits.isascii():
        return int(text)
    if "_" in text:
        raise ValueError
    number = float(text)
    if isinf(number):
        raise ValueError
    return MISSING if isnan(number) else number


def _integer(cell: str) -> Any:
    return _whole(_number(cell))


def _truth(cell: str) -> Any:
    text = cell.strip().lower()
    if not text:
        return MISSING
    if text not in _TRUTHS:
        raise ValueError
    return _TRUTHS[text]


def _list(cell: str) -> Any:
    if not cell.strip():
        return MISSING
    found = json.loads(cell)
    if not isinstance(found, list):
        raise ValueError  # noqa: TRY004 - what the caller catches
    return found


def _of_value(field: Mapping[str, Any]) -> Convert:
    if field["dtype"] == "int" and not field.get("shape"):
        return _whole_value
    return _text_value if field["dtype"] == "str" else plain


def plain(value: Any) -> Any:
    """Return a value as JSON can say it; pandas has several values for a missing one."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return MISSING
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    return MISSING if isinstance(value, float) and isnan(value) else value


def _text_value(value: Any) -> Any:
    found = plain(value)
    return found.isoformat() if hasattr(found, "isoformat") else found


def _whole_value(value: Any) -> Any:
    return _whole(plain(value))


def _whole(number: Any) -> Any:
    """Return 3 for 3.0, as which integers beside missing values are written; what is no integer is refused."""
    if isinstance(number, float):
        if not number.is_integer():
            raise ValueError
        return int(number)
    return number
