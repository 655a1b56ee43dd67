"""Converts JSON rows to an estimator's input: an array or a data frame, by the signature and never by the batch.

Each column has the dtype of the signature. If rows can't share a column's dtype (a number with a fraction where the
example has an integer), they are predicted separately, so that a row is converted alike in every batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from registry.errors import InputUnsuitable, ModelLoadFailed
from registry.runtimes.inputs import named_columns
from registry.runtimes.inputs.arrays import array_of
from registry.signatures.descriptions import shortened
from registry.signatures.input_checks import Dtype
from registry.signatures.layout import InputLayout, Kind, ValuesLayout, of_one_value
from registry.signatures.number_types import INTEGER_BOUNDS, Storage

Row = Any
#: The dtypes' names in numpy.
_ARRAY_DTYPES: Mapping[Dtype, str] = {
    Dtype.FLOAT: "float64",
    Dtype.INT: "int64",
    Dtype.BOOL: "bool",
    Dtype.STR: "object",
}
_LEAST_INT64, _MOST_INT64 = INTEGER_BOUNDS[Storage.INT64]
#: The first major version of pandas with a dtype for texts.
_PANDAS_WITH_TEXTS = 3
_NOT_ALPHANUMERIC = re.compile(r"\W")


def predict_alike(
    rows: list[Row], kind_of: Callable[[Row], object] | None, predict: Callable[[list[Row]], list[Any]]
) -> list[Any]:
    """Predict rows of the same kind together, and others separately; return the outputs in the order of the rows.

    Without `kind_of`, all rows are of one kind.
    """
    if kind_of is None:
        return predict(rows)
    groups: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(kind_of(row), []).append(index)
    if len(groups) <= 1:
        return predict(rows)
    outputs: list[Any] = [None] * len(rows)
    for indexes in groups.values():
        for index, output in zip(indexes, predict([rows[index] for index in indexes])):
            outputs[index] = output
    return outputs


def predict_in_batches_of(size: int, rows: list[Row], predict: Callable[[list[Row]], list[Any]]) -> list[Any]:
    """Predict in batches of exactly this size; repeat the last row to fill the last batch."""
    outputs: list[Any] = []
    for start in range(0, len(rows), size):
        given = rows[start : start + size]
        outputs += predict(given + given[-1:] * (size - len(given)))[: len(given)]
    return outputs


def estimator_rows(estimator: Any, signature: InputLayout, *, missing: str) -> ArrayRows | FrameRows:
    """Return the converter of rows for an estimator: to a data frame if it was fitted on one and pandas is installed.

    `missing` is the value of null in columns that aren't numbers: `nan` or `none`.

    Raises:
        ModelLoadFailed: the signature's fields are not the columns on which the estimator was fitted, or it selects
            columns by name and pandas is not installed.
    """
    fitted = getattr(estimator, "feature_names_in_", None)
    names = None if fitted is None else [str(name) for name in fitted]
    fields = fields_in_order(signature, names)
    none = None if missing == "none" else float("nan")
    has_pandas = find_spec("pandas") is not None
    if not has_pandas:
        named_columns.check_needs_no_frame(estimator)
    if names is None or not has_pandas or signature.kind is Kind.TENSOR:
        return ArrayRows(fields, signature, none)
    return FrameRows(_columns(names, fields, signature), none, named=bool(fields))


def frame_rows(signature: InputLayout) -> FrameRows:
    """Return the converter of named rows to a data frame with the signature's fields as columns."""
    names = list(signature.fields or {})
    return FrameRows(_columns(names, names, signature), float("nan"), named=True)


def fields_in_order(signature: InputLayout, fitted_names: list[str] | None) -> list[str]:
    """Return the signature's fields in the order of the fit; empty without fields.

    Raises:
        ModelLoadFailed: a column of the fit is no field.
    """
    if signature.fields is None:
        return []
    fields = list(signature.fields)
    if fitted_names is None or set(fitted_names) <= set(fields):
        return fields if fitted_names is None else fitted_names
    # Some libraries rename what they are fitted on: "sepal length" becomes "sepal_length".
    by_word = {_NOT_ALPHANUMERIC.sub("_", name): name for name in fields}
    words = [_NOT_ALPHANUMERIC.sub("_", name) for name in fitted_names]
    if len(by_word) == len(fields) and len(set(words)) == len(words) and set(words) <= set(by_word):
        return [by_word[word] for word in words]
    absent = [name for name in fitted_names if name not in fields]
    raise ModelLoadFailed(
        f"The model was fitted on the columns {', '.join(fitted_names)[:500]}; "
        f"the signature has no field {shortened(', '.join(absent))}. Name the fields as these columns."
    )


@dataclass(frozen=True)
class Column:
    """One column of a data frame: its name, the position of its values in a row, and their signature."""

    name: str
    place: str | int
    values: ValuesLayout
    #: Whether numbers without a fraction are integers in it, and others require another data frame.
    keeps_integers: bool

    @property
    def is_plain(self) -> bool:
        """Whether it contains 64-bit floats without special rules."""
        plain = self.values.dtype is Dtype.FLOAT and self.values.storage is None and self.values.shape == ()
        return plain and not self.keeps_integers


def _columns(names: list[str], fields: list[str], signature: InputLayout) -> list[Column]:
    if signature.fields is not None:
        found = [signature.fields[field] for field in fields]
        kept = [each.keeps_integers is True and not _may_be_missing(each) for each in found]
        return [Column(*each) for each in zip(names, fields, found, kept)]
    length = signature.shape[0] if signature.shape else 1
    if length not in {None, len(names)}:
        raise ModelLoadFailed(
            f"The model was fitted on the {len(names)} columns {', '.join(names)[:500]}; "
            f"an input of the signature has {length} value{'s' if length != 1 else ''}."
        )
    whole = signature.keeps_integers
    kept = list(whole) if isinstance(whole, tuple) else [whole is True] * len(names)
    one = of_one_value(signature)
    return [
        Column(name, place, one, keeps and not signature.nullable)
        for place, (name, keeps) in enumerate(zip(names, kept))
    ]


class ArrayRows:
    """Rows as one numpy array."""

    #: All rows can share one array.
    kind_of = None

    def __init__(self, fields: Sequence[str], signature: InputLayout, none: float | None) -> None:
        self._signature = signature
        self._fields = {} if signature.fields is None else {name: signature.fields[name] for name in fields}
        self._none = none

    def prepared(self, rows: list[Row]) -> Any:
        """Return the array. Raises InputUnsuitable if it can't contain a value."""
        if not self._fields:
            return self._of_one_dtype(rows)
        named = [[row.get(name) for name in self._fields] for row in rows]
        found = list(self._fields.values())
        if any(each.dtype is Dtype.STR for each in found):
            objects = [list(map(self._object, row, found)) for row in named]
            return array_of(objects, "object", "the input")
        storages = {None if _may_be_missing(each) else each.storage for each in found}
        dtype = storages.pop() if len(storages) == 1 else None
        exact = any(each.dtype is Dtype.INT for each in found)
        return array_of(named, dtype or "float64", "the input", exact=exact)

    def _of_one_dtype(self, rows: list[Row]) -> Any:
        values = self._signature
        if values.shape == () and values.dtype is not Dtype.STR:
            rows = [[row] for row in rows]  # one feature; vectorizers take text as a plain list
        dtype, exact = _dtype_of(values)
        array = array_of(rows, dtype, "the input", exact=exact)
        if dtype == "object" and values.nullable:
            array[array == None] = self._none  # noqa: E711 - element-wise
        return array

    def _object(self, value: Any, values: ValuesLayout) -> Any:
        if value is None:
            return self._none
        if values.dtype is not Dtype.FLOAT or isinstance(value, list):
            return value
        return int(value) if values.keeps_integers and _is_whole(value) else float(value)


class FrameRows:
    """Rows as a data frame with the columns of the estimator's fit, in their order."""

    def __init__(self, columns: list[Column], none: float | None, *, named: bool) -> None:
        self._pandas = import_module("pandas")
        self._columns = columns
        self._none = none
        self._named = named
        self._is_plain = all(each.is_plain for each in columns)
        self._whole = [each.place for each in columns if each.keeps_integers]
        #: Which columns of a row have integers; rows that differ in this can't share a data frame.
        self.kind_of = self._whole_places if self._whole else None

    def prepared(self, rows: list[Row]) -> Any:
        """Return the data frame of rows of one kind. Raises InputUnsuitable if a column can't contain a value."""
        found = [self._values_of(row) for row in rows]
        if self._is_plain:
            table = array_of(found, "float64", "the input")
            return self._pandas.DataFrame(table, columns=[each.name for each in self._columns])
        columns = zip(self._columns, zip(*found))
        return self._pandas.DataFrame({each.name: self._made(each, list(values)) for each, values in columns})

    def _values_of(self, row: Row) -> list[Any]:
        if self._named:
            return [row.get(each.place) for each in self._columns]
        values = row if isinstance(row, list) else [row]
        if len(values) != len(self._columns):
            raise InputUnsuitable(f"The model was fitted on {len(self._columns)} columns, not on {len(values)}.")
        return values

    def _whole_places(self, row: Row) -> object:
        values: Any = row if isinstance(row, (dict, list)) else [row]
        return tuple([_is_whole(values[place]) for place in self._whole])

    def _made(self, column: Column, values: list[Any]) -> Any:
        spec, name = column.values, f"the column {column.name!r}"
        if spec.categories is not None:
            return self._pandas.Categorical(values, categories=list(spec.categories))
        if spec.shape != ():
            return self._objects(values)
        if spec.dtype is Dtype.STR:
            return self._texts(values, spec)
        if column.keeps_integers and _is_whole(values[0]):
            return array_of(values, "int64", name)
        dtype, exact = _dtype_of(spec)
        return self._objects(values) if dtype == "object" else array_of(values, dtype, name, exact=exact)

    def _texts(self, values: list[Any], spec: ValuesLayout) -> Any:
        has_texts = int(self._pandas.__version__.partition(".")[0]) >= _PANDAS_WITH_TEXTS
        if not has_texts or (self._none is None and _may_be_missing(spec)):
            return self._objects(values)
        return self._pandas.array(values, dtype="str")

    def _objects(self, values: list[Any]) -> Any:
        return self._pandas.Series([self._none if each is None else each for each in values], dtype="object")


def _may_be_missing(values: ValuesLayout) -> bool:
    return values.nullable or not getattr(values, "required", True)


def _dtype_of(values: ValuesLayout) -> tuple[str, bool]:
    """Return numpy's dtype, and whether integers must be exact although it is a float dtype."""
    assert values.dtype is not None  # noqa: S101 - all kinds but named have one
    if _may_be_missing(values) and values.dtype is Dtype.INT:
        return "float64", True  # NaN is a float
    if _may_be_missing(values) and values.dtype is Dtype.BOOL:
        return "object", False
    return values.storage or _ARRAY_DTYPES[values.dtype], False


def _is_whole(value: float) -> bool:
    return _LEAST_INT64 <= value <= _MOST_INT64 and value == int(value)
