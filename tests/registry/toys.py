"""Toy models, named after what they do."""

from __future__ import annotations

import math
from typing import Any


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
