"""Values that a model returns."""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.workers.hosts.acts.sizes import MEBIBYTE


class NoLength(list[Any]):
    def __len__(self) -> int:
        raise RuntimeError("no length for you")


class NoItems(dict[str, Any]):
    def items(self) -> Any:
        sys.exit("no items for you")


class NoText:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


_ODD: dict[str, Callable[[], Any]] = {
    "numpy scalar": lambda: np.float32(1.5),
    "numpy integer": lambda: np.int64(3),
    "numpy array": lambda: np.arange(3),
    "nan": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "numpy nan": lambda: np.array([1.0, math.nan]),
    "date": lambda: dt.date(2026, 1, 1),
    "bytes": lambda: b"bytes",
    "set": lambda: {1, 2},
    "complex": lambda: 1j,
    "generator": lambda: iter([1, 2]),
    "no length": lambda: NoLength([1]),
    "no text": NoText,
    "no items": lambda: NoItems(a=1),
    "half a surrogate pair": lambda: "\udc00",
    "half a surrogate pair as a name": lambda: {"\udc00": 1},
    "huge integer": lambda: 10**6000,
    "long text": lambda: "x" * (17 * MEBIBYTE),
    "emoji": lambda: "\N{GRINNING FACE}",
}


def odd(name: str) -> Any:
    return _ODD[name]()


def deep() -> Any:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def long_text(megabytes: int) -> str:
    return "x" * megabytes * MEBIBYTE
