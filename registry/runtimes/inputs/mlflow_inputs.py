"""Converts JSON rows to the input of an MLflow model, with the types of the folder's signature.

MLflow's own server lets pandas guess types from a whole batch; here a row is converted alike in every batch.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Union

from registry.errors import InputUnsuitable
from registry.runtimes.inputs.arrays import array_of, shape_of
from registry.runtimes.inputs.rows import ArrayRows, FrameRows, frame_rows
from registry.signatures.descriptions import describe
from registry.signatures.input_checks import Dtype
from registry.signatures.layout import InputLayout

Row = Any
_NUMPY_DTYPES: Mapping[str, str] = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
}
_ARRAY_DTYPES: Mapping[Dtype, str] = {
    Dtype.FLOAT: "float64",
    Dtype.INT: "int64",
    Dtype.BOOL: "bool",
    Dtype.STR: "str",
}
#: Types whose pandas columns can't contain missing values: without a value, the column is omitted.
_NEVER_MISSING = frozenset({"integer", "long"})


class TensorFeed:
    """Rows as one array, or as one for each name."""

    def __init__(self, schema: Any) -> None:
        self._specs = schema.inputs
        self._is_named = schema.has_input_names()
        sizes = {each.shape[0] for each in schema.inputs if each.shape and each.shape[0] > 0}
        #: The number of rows of one call; None is any number.
        self.rows_at_once = sizes.pop() if len(sizes) == 1 else None
        self.kind_of: Callable[[Row], object] = self._shapes_of

    def prepared(self, rows: list[Row]) -> Any:
        """Return the arrays of rows of one shape. Raises InputUnsuitable if a dtype can't contain a value."""
        if not self._is_named:
            return array_of(rows, self._specs[0].type.name, "the input")
        return {
            each.name: array_of([row.get(each.name) for row in rows], each.type.name, f"the tensor {each.name!r}")
            for each in self._specs
        }

    def _shapes_of(self, row: Row) -> object:
        if not self._is_named:
            return shape_of(row)
        return tuple([shape_of(row.get(each.name)) for each in self._specs])


class ColumnFeed:
    """Rows as a data frame."""

    rows_at_once = None

    def __init__(self, schema: Any) -> None:
        self._is_named = schema.has_input_names()
        self._columns = {
            each.name if self._is_named else place: _word(each.type) for place, each in enumerate(schema.inputs)
        }
        self._types = dict(zip(self._columns, schema.input_types()))
        self._uneven = [
            name for name, word in self._columns.items() if word in _NEVER_MISSING or word == "boolean"
        ]  # fmt: skip
        #: Which of these columns a row lacks; rows that differ in this can't share a data frame.
        self.kind_of = self._gaps_of if self._uneven else None

    def prepared(self, rows: list[Row]) -> Any:
        """Return the data frame of rows of one kind. Raises InputUnsuitable if a column can't contain a value."""
        import pandas as pd

        columns = {name: [self._value(row, name) for row in rows] for name in self._columns}
        made = {
            name: _column(values, self._types[name], f"the column {name!r}")
            for name, values in columns.items()
            if not (self._columns[name] in _NEVER_MISSING and values[0] is None)
        }
        return pd.DataFrame(made, index=range(len(rows)))

    def _value(self, row: Row, name: str | int) -> Any:
        if self._is_named:
            return row.get(name)
        return (row if isinstance(row, list) else [row])[int(name)]

    def _gaps_of(self, row: Row) -> object:
        return tuple([self._value(row, name) is None for name in self._uneven])


class SignatureFeed:
    """Rows by the version's signature, if the folder has none: an array, or a data frame for named fields."""

    rows_at_once = None

    def __init__(self, signature: InputLayout) -> None:
        self._signature = signature
        self._rows: FrameRows | ArrayRows | None = None if signature.fields is None else frame_rows(signature)
        self.kind_of: Callable[[Row], object] | None = shape_of if self._rows is None else self._rows.kind_of

    def prepared(self, rows: list[Row]) -> Any:
        """Return the model's input of rows. Raises InputUnsuitable if a dtype can't contain a value."""
        if self._rows is not None:
            return self._rows.prepared(rows)
        values = self._signature
        assert values.dtype is not None  # noqa: S101 - all kinds but named have one
        is_number = values.dtype in {Dtype.FLOAT, Dtype.INT}
        if values.nullable:  # NaN is a float, None an object
            dtype = "float64" if is_number else "object"
            return array_of(rows, dtype, "the input", exact=values.dtype is Dtype.INT)
        return array_of(rows, values.storage or _ARRAY_DTYPES[values.dtype], "the input")


class RowFeed:
    """Unchanged rows, for models with type hints."""

    rows_at_once = None
    kind_of = None

    def prepared(self, rows: list[Row]) -> Any:
        """Return the rows."""
        return rows


Feed = Union[TensorFeed, ColumnFeed, SignatureFeed, RowFeed]


def feed_for(metadata: Any, signature: InputLayout) -> Feed:
    """Return the converter of rows for a model, by its folder's metadata."""
    schema = metadata.get_input_schema()
    if metadata.to_dict().get("is_signature_from_type_hint"):
        return RowFeed()
    if schema is None:
        return SignatureFeed(signature)
    return TensorFeed(schema) if schema.is_tensor_spec() else ColumnFeed(schema)


def _word(kind: Any) -> str:
    """Return MLflow's name of a type, e.g. `long` or `Array`."""
    return str(getattr(kind, "name", type(kind).__name__))


def _column(values: list[Any], kind: Any, name: str) -> Any:
    import pandas as pd

    word = _word(kind)
    if word in {"float", "double", *_NEVER_MISSING} or (word == "boolean" and values[0] is not None):
        return array_of(values, _NUMPY_DTYPES[word], name)
    if word == "string" and int(pd.__version__.partition(".")[0]) >= 3:
        return pd.array(values, dtype="str")
    converted = [None if each is None else _converted(each, kind, name) for each in values]
    if word == "datetime":
        return pd.Series(converted, dtype="datetime64[ns]")
    return pd.Series(converted, dtype="object")


def _converted(value: Any, kind: Any, name: str) -> Any:
    """Convert one value of a column of objects: text to dates and bytes, numbers to the declared type."""
    word = _word(kind)
    if word == "datetime":
        return _time(value, name)
    if word == "binary":
        return _bytes(value, name)
    if word in _NUMPY_DTYPES:
        return _number(value, word, name)
    if word == "Array" and isinstance(value, list):
        return _list(value, kind.dtype, name)
    if word == "Object" and isinstance(value, dict):
        kinds = {each.name: each.dtype for each in kind.properties}
        return {field: _member(each, kinds.get(field), f"{name}, {field}") for field, each in value.items()}
    return value


def _list(values: list[Any], kind: Any, name: str) -> Any:
    if _word(kind) in {"integer", "float"} and values:
        return array_of(values, _NUMPY_DTYPES[_word(kind)], name)  # MLflow doesn't accept lists for these
    return [_converted(each, kind, name) for each in values]


def _member(value: Any, kind: Any, name: str) -> Any:
    return value if kind is None or value is None else _converted(value, kind, name)


def _number(value: Any, word: str, name: str) -> Any:
    made = array_of([value], _NUMPY_DTYPES[word], name)[0]
    return made if word in {"integer", "float"} else made.item()


def _time(value: Any, name: str) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(value, int):
        return np.datetime64(value, "ns")  # like MLflow: nanoseconds since 1970
    try:
        parsed, stamp = datetime.fromisoformat(value), pd.Timestamp(value)
        if parsed.tzinfo is not None:
            raise InputUnsuitable(f"{name} must be times without an offset from UTC, which MLflow doesn't support.")
        stamp = stamp.as_unit("ns")
    except (TypeError, ValueError) as error:
        raise InputUnsuitable(
            f"{name} must be dates or times in ISO 8601, from 1677-09-22 to 2262-04-11, not {describe(value)}."
        ) from error
    if stamp.floor("us") != pd.Timestamp(parsed):
        raise InputUnsuitable(f"{name} must be dates or times in ISO 8601, not {describe(value)}.")
    return stamp.to_datetime64()


def _bytes(value: Any, name: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (AttributeError, ValueError, binascii.Error) as error:
        raise InputUnsuitable(f"{name} must be base64, not {describe(value)}.") from error
