"""Data frames and series of pandas as the input example of a version: a row, and the signature of the columns.

`registry.signatures.data_frames` says the same to programs beside the registry; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from api.client.errors import SettingsWrong
from api.client.tables import frames
from api.client.tables.cells import MISSING, plain

_FLOATS = {"float16", "float32", "float64"}
_NUMBERS = {*_FLOATS, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
_DEFAULTS = {"int64", "float64"}
_BY_KIND = ((str, "str"), (bool, "bool"), (int, "int"))


def described(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a registration; a data frame or a series as `input_example` becomes a row of JSON.

    Raises:
        SettingsWrong: the data frame has no rows, or columns of an unknown type.
    """
    found = dict(options)
    example = found.get("input_example")
    pandas = sys.modules.get("pandas")
    if frames.is_frame(example):
        signature, found["input_example"] = _of_frame(example)
        found.setdefault("signature", signature)
    elif pandas is not None and isinstance(example, pandas.Series):
        found["input_example"] = {str(name): _cell(value) for name, value in example.items()}
    return found


def _of_frame(frame: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    if not len(frame) or not names:
        raise SettingsWrong("The data frame has no rows or no columns.")
    if len(set(names)) < len(names):
        raise SettingsWrong("The data frame has two columns of the same name, which can't be fields of one input.")
    columns = {name: frame.iloc[:, place] for place, name in enumerate(names)}
    fields = {name: _field(name, column) for name, column in columns.items()}
    return {"kind": "named", "fields": fields}, {name: _cell(column.iloc[0]) for name, column in columns.items()}


def _field(name: str, column: Any) -> dict[str, Any]:
    missing = {"nullable": True} if bool(column.isna().any()) else {}
    word = str(column.dtype).lower()  # Int64 is pandas' nullable int64
    if word == "category":
        categories = [_cell(each) for each in column.cat.categories]
        return {"dtype": _dtype_of(name, categories), "categories": categories, **missing}
    if word in _NUMBERS:
        storage = {} if word in _DEFAULTS else {"storage": word}
        return {"dtype": "float" if word in _FLOATS else "int", **storage, **missing}
    if word in {"bool", "boolean"}:
        return {"dtype": "bool", **missing}
    return {"dtype": _dtype_of(name, [_cell(each) for each in column.dropna()]), **missing}


def _dtype_of(name: str, values: list[Any]) -> str:
    kinds = {type(each) for each in values}
    for kind, dtype in _BY_KIND:
        if kinds == {kind}:
            return dtype
    found = ", ".join(sorted(each.__name__ for each in kinds)) or "nothing"
    raise SettingsWrong(f"The column {name!r} of the data frame contains {found}: pass a signature that defines it.")


def _cell(value: Any) -> Any:
    found = plain(value)
    return None if found is MISSING else found
