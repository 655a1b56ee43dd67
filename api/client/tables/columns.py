"""Which columns of a table make an input: those with the names of its fields, or all of them by their position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from api.client.errors import InputInvalid, SettingsWrong
from api.client.tables.cells import MISSING, Convert, converter, expected
from api.client.typing import Self

_SHOWN = 10


class ColumnsWrong(SettingsWrong):
    """A table lacks a column, or has too many or too few."""

    code = "columns_wrong"


@dataclass(frozen=True)
class _Column:
    name: str
    place: int
    field: Mapping[str, Any]
    convert: Convert

    @classmethod
    def of(cls, name: str, place: int, field: Mapping[str, Any], *, texts: bool) -> Self:
        return cls(name, place, field, converter(field, texts=texts))

    def value(self, cell: Any, *, texts: bool) -> Any:
        """Return the value of a cell, MISSING if it may be left out. Raises InputInvalid."""
        try:
            value = self.convert(cell)
        except (ValueError, RecursionError) as error:
            raise _wrong(self.name, self.field, repr(cell) if len(repr(cell)) < 60 else f"{cell!r:.60}…") from error
        if value is not MISSING:
            return value
        if self.field.get("nullable"):
            return None
        if self.field.get("required") is False:
            return MISSING
        if texts and self.field["dtype"] == "str" and not self.field.get("categories"):
            return ""
        raise _wrong(self.name, self.field, "empty")


class Columns:
    """The columns of one table, as a signature wants them.

    Attributes:
        ignored: the names of columns that are no part of an input.
    """

    def __init__(
        self, signature: Mapping[str, Any], header: Sequence[str], chosen: Sequence[str] | None = None, *, texts: bool
    ) -> None:
        """Take the signature of an endpoint, the names of a table's columns, and perhaps those to use by position.

        Raises:
            ColumnsWrong: a field has no column or two, or there are too many columns, or too few.
        """
        self._texts = texts
        self._fields: Mapping[str, Mapping[str, Any]] | None = signature.get("fields")
        if self._fields is not None:
            self._columns = _by_name(self._fields, header, chosen, texts=texts)
            self._shape: list[int] | None = None
        else:
            self._shape = signature["shape"]
            places = _places(header, chosen)
            _check_count(self._shape, [header[place] for place in places])
            one = {**signature, "shape": []}
            self._columns = [_Column.of(header[place], place, one, texts=texts) for place in places]
        used = {each.place for each in self._columns}
        self.ignored = [name for place, name in enumerate(header) if place not in used]

    def input_of(self, row: Sequence[Any]) -> Any:
        """Return the input that a row is, or the error of a cell in its place."""
        try:
            values = [each.value(row[each.place], texts=self._texts) for each in self._columns]
        except InputInvalid as error:
            return error
        if self._fields is not None:
            named = zip(self._columns, values)
            return {column.name: value for column, value in named if value is not MISSING}
        if not self._shape:
            return values[0]
        return _shaped(values, self._shape)


def _by_name(
    fields: Mapping[str, Mapping[str, Any]], header: Sequence[str], chosen: Sequence[str] | None, *, texts: bool
) -> list[_Column]:
    if chosen is not None:
        raise ColumnsWrong("The input has named fields, so that its columns are found by name and can't be chosen.")
    found, missing = [], []
    for name, field in fields.items():
        places = _places_of(name, header)
        if len(places) > 1:
            raise ColumnsWrong(f"The table has {len(places)} columns that are called {name!r}.")
        if places:
            found.append(_Column.of(name, places[0], field, texts=texts))
        elif field.get("required") is not False:
            missing.append(name)
    if missing:
        columns = "column" if len(missing) == 1 else "columns"
        raise ColumnsWrong(f"The table has no {columns} {_listed(missing)}; it has {_listed(header)}.")
    return found


def _places(header: Sequence[str], chosen: Sequence[str] | None) -> list[int]:
    if chosen is None:
        return list(range(len(header)))
    places = []
    for name in chosen:
        found = _places_of(name, header)
        if len(found) != 1:
            raise ColumnsWrong(f"The table has {len(found) or 'no'} columns {name!r}; it has {_listed(header)}.")
        places += found
    return places


def _places_of(name: str, header: Sequence[str]) -> list[int]:
    exact = [place for place, each in enumerate(header) if each == name]
    return exact or [place for place, each in enumerate(header) if each.strip() == name]


def _check_count(shape: Sequence[int | None], names: Sequence[str]) -> None:
    if None in shape[1:] or (shape[:1] == [None] and len(shape) > 1):
        raise ColumnsWrong("The input is a tensor of any length, which no row of a table is: send JSON.")
    wanted = None if shape[:1] == [None] else prod(each or 1 for each in shape)
    if wanted != len(names) if wanted is not None else not names:
        what = "value" if wanted == 1 else "values"
        raise ColumnsWrong(
            f"The input has {wanted if wanted is not None else 'one or more'} {what} without names, taken from the "
            f"columns in their order; the table has {len(names)}: {_listed(names)}."
        )


def _shaped(values: list[Any], shape: Sequence[int | None]) -> list[Any]:
    for length in reversed(shape[1:]):
        assert length is not None  # noqa: S101 - checked with the header
        values = [values[start : start + length] for start in range(0, len(values), length)]
    return values


def _wrong(name: str, field: Mapping[str, Any], found: str) -> InputInvalid:
    problem = {"code": "input_invalid", "field": name}
    return InputInvalid(f"{name} must be {expected(field)}; it is {found}.", code="input_invalid", problem=problem)


def _listed(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
