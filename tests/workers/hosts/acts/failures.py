"""Ways to end a host, and to raise."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import numpy as np

from tests.workers.hosts.acts.sizes import LONG_S, MEBIBYTE


def segfault() -> None:
    ctypes.string_at(0)


def exit_at_once() -> None:
    os._exit(7)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be_ended_by_a_real_time_signal() -> None:
    os.kill(os.getpid(), signal.SIGRTMIN + 3)


def hang() -> None:
    time.sleep(LONG_S)


def hang_in_a_busy_loop() -> None:
    while True:
        pass


def be_stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def close_every_descriptor() -> None:
    os.closerange(3, 1000)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


class ExitsWhenPrinted(Exception):
    def __str__(self) -> str:  # noqa: PLE0307 - never gets that far
        sys.exit("printed")


class OwnBaseException(BaseException):
    pass


def call_sys_exit() -> None:
    sys.exit(3)


def raise_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def raise_generator_exit() -> None:
    raise GeneratorExit


def raise_base_exception() -> None:
    raise OwnBaseException("neither Exception nor known")


def raise_unprintable() -> None:
    raise Unprintable


def raise_what_exits_when_printed() -> None:
    raise ExitsWhenPrinted


def raise_megabytes() -> None:
    raise ValueError("x" * 5 * MEBIBYTE)


def raise_half_a_surrogate_pair() -> None:
    raise ValueError("half: \ud800.")


def raise_with_a_long_name() -> None:
    raise type("E" * MEBIBYTE, (Exception,), {})


def raise_memory_error() -> None:
    raise MemoryError


def ask_numpy_for_too_much() -> Any:
    return np.empty(1 << 50)


def recurse() -> Any:
    return recurse()


def refuse() -> None:
    raise ValueError("not today")
