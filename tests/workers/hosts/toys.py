"""Toy models that treat their host as real models do; rows select the action."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.workers.hosts.acts import changes, children, failures, looks, memory, outputs
from tests.workers.hosts.acts.sizes import MEBIBYTE
from workers.hosts import processes

_ACTS = {
    name: act for each in (changes, children, failures, looks, memory, outputs) for name, act in vars(each).items()
}


def obey(row: Any) -> Any:
    """Double a number; perform the act named by a text or by the first element of a list."""
    if isinstance(row, int | float):
        return 2 * row
    act, *arguments = [row] if isinstance(row, str) else row
    return _ACTS[act](*arguments)


def obey_all(rows: list[Any]) -> list[Any]:
    return [obey(row) for row in rows]


class Raw:
    """Has its runtime pass on whatever it returns: like one that doesn't look at outputs."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.call = call

    def __setstate__(self, state: dict[str, Any]) -> None:
        from registry.runtimes import python

        self.__dict__.update(state)
        vars(python).update(to_json=lambda output: output, rows_to_json=lambda outputs, _: outputs)

    def __call__(self, row: Any) -> Any:
        return self.call(row)


class BigWhenLoaded:
    """Keeps memory after loading; hangs then if requested."""

    def __init__(self, megabytes: int, hang_s: float = 0) -> None:
        self.megabytes = megabytes
        self.hang_s = hang_s

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        memory.keep(self.megabytes)
        time.sleep(self.hang_s)

    def __call__(self, row: Any) -> Any:
        return row


def too_few(rows: list[Any]) -> list[Any]:
    """Leave out the rows that say so, and add one for those that say "more"."""
    return list(itertools.chain.from_iterable({"fewer": [], "more": [1, 1]}.get(row, [row]) for row in rows))


def fail_as_a_whole(rows: list[Any]) -> list[Any]:
    """Take one row at a time, without saying so."""
    if len(rows) > 1:
        raise ValueError("one at a time")
    return [obey(row) for row in rows]


def slow_alone(rows: list[Any]) -> list[Any]:
    """Fail as a batch at once, then take half a second for each row."""
    if len(rows) > 1:
        raise ValueError("one at a time")
    time.sleep(0.5)
    return rows


def need_memory_for_each(rows: list[Any]) -> list[Any]:
    """Hold 64 MiB for each row, run out of it at the fourth, and return how much the process has."""
    held = []
    for _ in rows:
        held.append(np.ones(64 * MEBIBYTE, dtype=np.uint8))
        if len(held) > 3:
            raise MemoryError
    return [processes.own_memory_bytes(os.getpid())] * len(rows)


class ActsWhenLoaded:
    """Does one of the acts above when it is unpickled."""

    def __init__(self, act: str) -> None:
        self.act = act

    def __setstate__(self, state: dict[str, Any]) -> None:
        obey(state["act"])


class Returns:
    """Returns one of the odd values, whatever the rows are."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, rows: list[Any]) -> Any:
        return outputs.odd(self.name)


def scaled(row: dict[str, Any]) -> float:
    """Change the row first, and refuse it then."""
    row["px"] /= 255
    if row["kind"] != "good":
        raise ValueError("unknown kind")
    return float(row["px"])


def scaled_all(rows: list[dict[str, Any]]) -> list[float]:
    return [scaled(row) for row in rows]


def pop_px(row: dict[str, Any]) -> float:
    return float(row.pop("px"))


def pop_px_all(rows: list[dict[str, Any]]) -> list[float]:
    return [pop_px(row) for row in rows]


def use_up(rows: list[float]) -> list[float]:
    doubled = []
    while rows:
        doubled.append(2 * rows.pop(0))
    return doubled


def use_up_and_grow(rows: list[float]) -> list[float]:
    doubled = use_up(rows)
    rows.extend([0.0] * 7)
    return doubled


def empty(rows: list[float]) -> list[float]:
    rows.clear()
    return []


class Accumulating:
    """Answers each row with the same list, which grows."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, row: float) -> list[float]:
        self.seen.append(row)
        return self.seen
