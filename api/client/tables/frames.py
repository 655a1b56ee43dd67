"""Data frames of pandas as inputs and as answers; pandas is used only if the caller has it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from api.client.errors import ClientError, SettingsWrong
from api.client.options import MapOptions
from api.client.tables.columns import Columns
from api.client.tables.predictions import ERROR, cells_of, message_of

#: So many rows a job are many times faster than one, and still few to repeat if one of them fails.
ROWS_A_JOB = 100
ROWS_AT_ONCE = 20_000
_ROWS_A_PART = 1_000


class DataFrame(Protocol):
    """A data frame of pandas, as far as the client needs to know it."""

    @property
    def iloc(self) -> Any:
        """Rows and columns by their position."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    @property
    def index(self) -> Any:
        """The names of the rows."""

    def __len__(self) -> int:
        """Return the number of rows."""


def is_frame(value: Any) -> bool:
    """Tell whether this is a data frame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def refuse(value: Any) -> None:
    """Raise SettingsWrong for a data frame, whose rows have an order."""
    if is_frame(value):
        raise SettingsWrong("A data frame is predicted with map(), which returns one; map_unordered() takes rows.")


def options_of(options: MapOptions) -> MapOptions:
    """Return the options of a `map` over rows of a table."""
    return {"inputs_a_job": ROWS_A_JOB, "window": ROWS_AT_ONCE, **options}


def inputs_of(frame: DataFrame, signature: Mapping[str, Any]) -> Iterator[Any]:
    """Return an input for each row. Raises ColumnsWrong."""
    columns = Columns(signature, [str(name) for name in frame.columns], texts=False)
    return chain.from_iterable(
        map(columns.input_of, _rows_of(frame.iloc[start : start + _ROWS_A_PART]))
        for start in range(0, len(frame), _ROWS_A_PART)
    )


def _rows_of(part: DataFrame) -> Iterator[tuple[Any, ...]]:
    return zip(*(part.iloc[:, place].tolist() for place in range(len(part.columns))))


class Answer:
    """The predictions of a data frame's rows, which become a data frame with the same index."""

    def __init__(self, frame: DataFrame, options: MapOptions) -> None:
        self._index = frame.index
        self._rows: list[dict[str, Any]] = []
        self._has_errors = options.get("on_error") == "return"

    def add(self, result: Any) -> None:
        """Add the prediction of the next row, or its error."""
        if isinstance(result, ClientError):
            self._rows.append({ERROR: message_of(result)})
        else:
            self._rows.append(cells_of(result))

    def frame(self) -> Any:
        """Return the data frame."""
        names = dict.fromkeys(chain.from_iterable(self._rows))
        names.pop(ERROR, None)
        if self._has_errors:
            names[ERROR] = None
        data = {name: [row.get(name) for row in self._rows] for name in names}
        return sys.modules["pandas"].DataFrame(data, index=self._index)
