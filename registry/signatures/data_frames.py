"""Pandas data frames and series as input examples: a row, and the signature of the columns; imports no pandas."""

from __future__ import annotations

import sys
from typing import Any

from registry.errors import SignatureInvalid
from registry.signatures.descriptions import shortened
from registry.signatures.input_checks import Dtype
from registry.signatures.number_types import Storage

_DEFAULT_STORAGES = {Storage.INT64, Storage.FLOAT64}


def is_data_frame(value: object) -> bool:
    """Whether the value is a pandas data frame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def row_of(value: Any) -> Any:
    """Return a pandas series as an object of its values by their names; anything else unchanged."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, pandas.Series):
        return value
    return {str(name): _plain(each) for name, each in value.items()}


def described(frame: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the document of the signature of a frame's rows, and its first row as an input example.

    A column with any missing value is nullable.

    Raises:
        SignatureInvalid: the frame has no rows, or a column of an unsupported type; the message names it.
    """
    if not len(frame) or not len(frame.columns):
        raise SignatureInvalid("The data frame has no rows or no columns.")
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise SignatureInvalid("The data frame has two columns of the same name, which can't be fields of one input.")
    columns = [frame.iloc[:, place] for place in range(len(names))]
    fields = {name: _field(name, column) for name, column in zip(names, columns, strict=True)}
    example = {name: _plain(column.iloc[0]) for name, column in zip(names, columns, strict=True)}
    return {"kind": "named", "fields": fields}, example


def _field(name: str, column: Any) -> dict[str, Any]:
    missing = {"nullable": True} if bool(column.isna().any()) else {}
    if str(column.dtype) == "category":
        categories = [_plain(each) for each in column.cat.categories]
        return {"dtype": _dtype_of_objects(name, categories), "categories": categories, **missing}
    word = str(column.dtype).lower()  # Int64 is pandas' nullable int64
    if word in set(Storage):
        storage = Storage(word)
        dtype = Dtype.FLOAT if storage.is_float else Dtype.INT
        return {"dtype": dtype, **({} if storage in _DEFAULT_STORAGES else {"storage": storage}), **missing}
    if word in {"bool", "boolean"}:
        return {"dtype": Dtype.BOOL, **missing}
    return {"dtype": _dtype_of_objects(name, [_plain(each) for each in column.dropna()]), **missing}


def _dtype_of_objects(name: str, values: list[Any]) -> Dtype:
    kinds = {type(each) for each in values}
    for kind, dtype in ((str, Dtype.STR), (bool, Dtype.BOOL), (int, Dtype.INT)):
        if kinds == {kind}:
            return dtype
    found = ", ".join(sorted(each.__name__ for each in kinds)) or "nothing"
    raise SignatureInvalid(
        f"The column {shortened(name)!r} of the data frame contains {found}: pass a signature that defines it."
    )


def _plain(value: Any) -> Any:
    """Return a value of a column as a Python object; None if it is missing."""
    if value is None or value is sys.modules["pandas"].NA or value != value:  # noqa: PLR0124 - NaN, NaT
        return None
    return value.item() if hasattr(value, "item") else value
