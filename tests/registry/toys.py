"""Toy models, named after what they do."""

from __future__ import annotations

import math
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin


def double(row: float) -> float:
    return 2 * row


def double_all(rows: list[float]) -> list[float]:
    return [2 * row for row in rows]


def answer_nan(_row: Any) -> float:
    return math.nan


def refuse(_row: Any) -> None:
    raise ValueError("not today")


class Adder:
    def predict(self, row: list[float]) -> float:
        return sum(row)

    def explain(self, row: list[float]) -> str:
        return " + ".join(map(str, row))


class Unloadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, (None,)


class Unpicklable:
    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("holds a socket")

    def __call__(self, row: Any) -> Any:
        return row


class Echo:
    """Was fitted on named columns; answers what it was given."""

    def __init__(self, columns: list[str]) -> None:
        self.feature_names_in_ = columns

    def predict(self, rows: Any) -> Any:
        return rows


class Centering(TransformerMixin, BaseEstimator):  # type: ignore[misc] # they have no types
    """A transformer that scikit-learn doesn't know."""

    def fit(self, rows: Any, _targets: Any = None) -> Centering:
        self.means_ = rows.mean(axis=0)
        return self

    def transform(self, rows: Any) -> Any:
        return rows - self.means_
