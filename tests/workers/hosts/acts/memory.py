"""Memory that a model takes, and keeps or not."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from tests.workers.hosts.acts.sizes import LONG_S, MEBIBYTE

#: What acts keep for the life of their process.
_kept: list[Any] = []


def keep(megabytes: int) -> int:
    _kept.append(np.ones(megabytes * MEBIBYTE, dtype=np.uint8))
    return megabytes


def keep_and_hang(megabytes: int) -> None:
    keep(megabytes)
    time.sleep(LONG_S)


def child_that_keeps(megabytes: int) -> int:
    """Fork a child that keeps memory; return its pid once it has it."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.read(reading, 1)
        return pid
    keep(megabytes)
    os.write(writing, b"x")
    time.sleep(LONG_S)
    os._exit(0)


def child_that_keeps_while_we_hang(megabytes: int) -> None:
    child_that_keeps(megabytes)
    time.sleep(LONG_S)


def touch(megabytes: int) -> int:
    """Use memory for a moment."""
    return len(np.ones(megabytes * MEBIBYTE, dtype=np.uint8)) // MEBIBYTE


def forget() -> str:
    _kept.clear()
    return "forgotten"
