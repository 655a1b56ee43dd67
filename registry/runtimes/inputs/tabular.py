"""Converts data frames, series and columns of arrays that a model returns to rows; requires pandas."""

from __future__ import annotations

from typing import Any

from registry.runtimes.outputs import names_of


def rows_of(answers: Any, row_count: int) -> Any:
    """Return data frames, series and columns of arrays as a list of rows; anything else unchanged.

    Raises:
        OutputInvalid: two columns have the same name, or names that become the same text.
    """
    import numpy as np
    import pandas as pd

    if isinstance(answers, pd.DataFrame):
        return _rows_of_frame(answers)
    if isinstance(answers, pd.Series):
        return answers.tolist()
    if not isinstance(answers, dict):
        return answers
    arrays = (np.ndarray, pd.Series)
    columns = {name: each.tolist() if isinstance(each, arrays) else each for name, each in answers.items()}
    if columns and all(isinstance(each, list) and len(each) == row_count for each in columns.values()):
        return [dict(zip(columns, row)) for row in zip(*columns.values())]
    return [columns] if row_count == 1 else answers


def _rows_of_frame(frame: Any) -> Any:
    # pandas would drop all but the last of such columns, with only a warning.
    names_of(frame.columns, "The data frame that the model returned")
    return frame.to_dict("records")
