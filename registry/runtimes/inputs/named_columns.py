"""Finds out whether an estimator selects columns by name, which only a data frame has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.errors import ModelLoadFailed

_SHOWN = 3


def check_needs_no_frame(estimator: Any) -> None:
    """Check, where pandas is not installed, that an estimator works on arrays.

    Raises:
        ModelLoadFailed: a `ColumnTransformer` in it selects columns by name.
    """
    names = list(dict.fromkeys(_selected_names(estimator)))
    if names:
        more = ", …" if len(names) > _SHOWN else ""
        raise ModelLoadFailed(
            f"The model selects columns by name ({', '.join(names[:_SHOWN])}{more}) of a data frame, and pandas "
            "is not installed here: pip install pandas where workers run."
        )


def _selected_names(estimator: Any) -> Iterator[str]:
    """Yield the names by which the column transformers in an estimator select columns."""
    for part in _parts(estimator):
        for _, _, columns in getattr(part, "transformers_", None) or getattr(part, "transformers", None) or ():
            for each in [columns] if isinstance(columns, str) else columns if isinstance(columns, list) else ():
                if isinstance(each, str):
                    yield each


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and those in it: steps of pipelines, estimators of searches and ensembles."""
    yield estimator
    parameters = getattr(estimator, "get_params", None)
    if not callable(parameters):
        return
    try:
        yield from [each for each in parameters(deep=True).values() if hasattr(each, "transformers")]
    except Exception:  # noqa: BLE001 - a class of the caller's; then predicting the example shows what is wrong
        return
