"""Converts JSON rows to the features of a tree model: an array of floats, in which categories are codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

from registry.errors import InputUnsuitable, ModelLoadFailed
from registry.runtimes.inputs.arrays import array_of
from registry.runtimes.inputs.categoricals import CATEGORIES_REQUIRED
from registry.runtimes.inputs.rows import fields_in_order
from registry.signatures.descriptions import shortened
from registry.signatures.input_checks import Dtype
from registry.signatures.layout import InputLayout, Kind, ValuesLayout
from registry.signatures.number_types import FLOAT_OVERFLOWS_AT, Storage

Row = Any
Category = Union[str, int]


@dataclass(frozen=True)
class Features:
    """The features of a model, as its file describes them."""

    count: int
    #: None: they have no names, only positions.
    names: Sequence[str] | None = None
    #: The categories of the categorical features, in the order of their codes, which begin at 0. The outer order is
    #: that of the features. None for a feature whose file doesn't contain them: the signature has their order.
    categories: Sequence[Sequence[Category] | None] = ()
    #: The positions of features whose categories the library takes as they are, texts and integers.
    plain_categories: frozenset[int] = frozenset()
    #: The library's number type; numbers beyond it are refused.
    storage: Storage = Storage.FLOAT64


class FeatureRows:
    """Rows as one array of floats, with a column for each feature; a missing value is NaN."""

    def __init__(self, features: Features, signature: InputLayout) -> None:
        """Match a signature with a model. Raises ModelLoadFailed if an input of it has not the model's features."""
        self._count = features.count
        self._fields = _fields(features, signature)
        self._codes = _codes(features, self._fields, signature)
        self._plain_categories = features.plain_categories
        specs = [signature.fields[name] for name in self._fields] if signature.fields else [signature]
        self._is_exact = any(each.dtype is Dtype.INT for each in specs)
        self._is_scalar = signature.kind is Kind.SCALAR
        self._overflows_at = FLOAT_OVERFLOWS_AT.get(features.storage)

    def prepared(self, rows: list[Row]) -> Any:
        """Return the array. Raises InputUnsuitable if it can't contain a value."""
        import numpy as np

        values = [self._values_of(row) for row in rows]
        if self._plain_categories:
            return self._objects(values)
        array = array_of(values, "float64", "the input", exact=self._is_exact)
        self._check_length(array.shape[1])
        if self._overflows_at is not None and (np.abs(array) >= self._overflows_at).any():
            raise InputUnsuitable("The model takes 32-bit floats; a number of the input is beyond their range.")
        return array

    def _check_length(self, length: int) -> None:
        if length != self._count:
            raise InputUnsuitable(f"The model has {self._count} features; this input has {length}.")

    def _objects(self, rows: list[list[Any]]) -> Any:
        import numpy as np

        for row in rows:
            self._check_length(len(row))
        array = np.empty((len(rows), self._count), dtype="object")
        for place, column in enumerate(zip(*rows)):
            if place in self._plain_categories:
                array[:, place] = [_category(value, place) for value in column]
            else:
                array[:, place] = array_of(list(column), "float64", "the input", exact=self._is_exact)
        return array

    def _values_of(self, row: Row) -> list[Any]:
        if self._is_scalar:
            return [row]
        if not self._fields:
            return list(row)
        values = [row.get(name) for name in self._fields]
        for place, codes in self._codes.items():
            if values[place] is not None:
                values[place] = codes.get(values[place])  # one that the fit has not seen is missing
        return values


def _fields(features: Features, signature: InputLayout) -> list[str]:
    """Return the signature's fields in the order of the features; empty if inputs are not named."""
    if signature.kind is Kind.TENSOR:
        raise ModelLoadFailed("The model takes a list of numbers or named fields; the signature has a tensor.")
    if signature.fields is None:
        length = signature.shape[0] if signature.shape else 1
        if length not in {None, features.count}:
            raise ModelLoadFailed(
                f"The model has {features.count} features; an input of the signature has {length} "
                f"value{'s' if length != 1 else ''}."
            )
        if not features.plain_categories:
            _check_number(signature, "an input of the signature", most_dimensions=1)
        return []
    fields = fields_in_order(signature, None if features.names is None else list(features.names))
    if len(fields) != features.count:
        raise ModelLoadFailed(f"The model has {features.count} features; the signature has {len(fields)} fields.")
    for place, name in enumerate(fields):
        if place not in features.plain_categories:
            _check_number(signature.fields[name], f"the field {shortened(name)!r}", most_dimensions=0)
    return fields


def _check_number(values: ValuesLayout, what: str, *, most_dimensions: int) -> None:
    if len(values.shape) > most_dimensions:
        raise ModelLoadFailed(f"Each feature of the model is one number; {what} is a list.")
    if values.dtype is Dtype.STR and values.categories is None:
        raise ModelLoadFailed(
            f"The features of the model are numbers; {what} is text. If it is a category, name its categories in the "
            "signature, or register the model from Python with a data frame as the input_example."
        )


def _codes(features: Features, fields: list[str], signature: InputLayout) -> dict[int, dict[Any, int]]:
    """Return the codes of the categories, by the position of their feature."""
    if features.plain_categories:
        return {}
    specs = signature.fields or {}
    given = [(place, specs[name].categories) for place, name in enumerate(fields)]
    named = [(place, categories) for place, categories in given if categories is not None]
    fitted = features.categories
    if not named and any(each is not None for each in fitted):
        raise ModelLoadFailed(CATEGORIES_REQUIRED)
    if not fitted:
        # Categories are integers, which the model takes as they are.
        texts = [fields[place] for place, each in named if not all(isinstance(value, int) for value in each)]
        if texts:
            raise ModelLoadFailed(f"The model has no categories, but the field {shortened(texts[0])!r} has some.")
        return {}
    if named and len(named) != len(fitted):
        raise ModelLoadFailed(
            f"The model was fitted on {len(fitted)} columns of categories; {len(named)} fields of the signature have "
            "categories."
        )
    pairs = zip(named, fitted)
    return {place: {value: code for code, value in enumerate(own or order)} for (place, order), own in pairs}


def _category(value: Any, place: int) -> str | int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, float):
        what = "null" if value is None else "a fraction"
        raise InputUnsuitable(f"Feature {place + 1} of the model is a category, a text or a whole number, not {what}.")
    category: str | int = value
    return category
