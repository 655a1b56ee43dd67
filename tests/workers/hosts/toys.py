"""Toy models that do to their host what models do, each act named after what it does."""

from __future__ import annotations

import ctypes
import datetime as dt
import importlib
import itertools
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MEBIBYTE = 1 << 20
LONG_S = 600
#: What acts keep for the life of their process.
_kept: list[Any] = []


def obey(row: Any) -> Any:
    """Double a number; do what a text, or the first word of a list, says."""
    if isinstance(row, int | float):
        return 2 * row
    act, *arguments = [row] if isinstance(row, str) else row
    return globals()[act](*arguments)


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


# Ends of the process


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


# Exceptions


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


# Changes of the process


def lower_the_recursion_limit() -> int:
    depth = len(list(iter_frames()))
    sys.setrecursionlimit(depth + 8)
    return depth


def iter_frames() -> Any:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def change_folder() -> str:
    os.chdir("/")
    return str(Path.cwd())


def folder() -> str:
    return str(Path.cwd())


def _raise_at_signal(number: int, _frame: object) -> None:
    raise TimeoutError(f"signal {number}")


def change_signal_handlers() -> str:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, _raise_at_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    return "changed"


def own_signal_handlers() -> list[int]:
    """The signals whose handler is ours."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is _raise_at_signal]


def close_standard_descriptors() -> str:
    for descriptor in range(3):
        os.close(descriptor)
    return "closed"


def close_standard_streams() -> str:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    return "closed"


def lose_standard_streams() -> str:
    vars(sys).update(stdout=None, stderr=None)
    return "lost"


def print_something() -> str:
    print("something to stdout")
    print("something to stderr", file=sys.stderr)
    os.write(1, b"something to 1\n")
    return str(Path("/proc/self/fd/1").readlink())


def print_megabytes() -> str:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(20_000):
            print("a line of some length, as models that are under test print them", file=stream)
        stream.write("and one without an end " * 50_000)
    return "printed"


def write_garbage() -> str:
    for descriptor in (1, 2):
        os.write(descriptor, bytes(range(256)) * 1024)
    print("\ud800 is no character")
    return "written"


# Children and threads


def fork_and_return() -> str:
    os.fork()
    return "both say this"


def fork_in_c_and_return() -> str:
    ctypes.CDLL(None).fork()
    return "both say this"


def fork_and_raise() -> str:
    if os.fork() == 0:
        raise ValueError("from the child")
    return "parent"


def fork_and_exit() -> str:
    if os.fork() == 0:
        sys.exit("from the child")
    return "parent"


def fork_child_that_lives_on() -> int:
    if pid := os.fork():
        return pid
    time.sleep(LONG_S)
    os._exit(0)


def fork_child_with_own_session() -> int:
    if pid := os.fork():
        return pid
    os.setsid()
    time.sleep(LONG_S)
    os._exit(0)


def start_daemon() -> int:
    """Start a grandchild in a session of its own whose parent is gone; return its pid."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.write(writing, str(os.getpid()).encode())
        time.sleep(LONG_S)
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reading, 20))


def start_program_in_background() -> int:
    """Start a program through a shell, which lets it inherit whatever may be inherited."""
    found = subprocess.check_output(f"sleep {LONG_S} > /dev/null 2>&1 & echo $!", shell=True, close_fds=False)
    return int(found)


def terminate_own_program() -> int:
    """Start a program, ask it to end, and return how it ended."""
    program = subprocess.Popen(["sleep", str(LONG_S)])
    program.terminate()
    return program.wait()


def terminate_own_child() -> int:
    """Fork a child, ask it to end, and return the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        time.sleep(LONG_S)
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def start_threads() -> int:
    for _ in range(5):
        threading.Thread(target=time.sleep, args=(LONG_S,)).start()
    return threading.active_count()


def exit_soon_in_a_thread() -> str:
    threading.Timer(0.2, os._exit, (5,)).start()
    return "soon"


# Memory


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


class BigWhenLoaded:
    """Keeps memory from when it is loaded; hangs then if it is told to."""

    def __init__(self, megabytes: int, hang_s: float = 0) -> None:
        self.megabytes = megabytes
        self.hang_s = hang_s

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        keep(self.megabytes)
        time.sleep(self.hang_s)

    def __call__(self, row: Any) -> Any:
        return row


# Outputs


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
    """Hold some memory for each row while predicting, and run out of it at the last of several."""
    held = []
    for _ in rows:
        held.append(np.ones(64 * MEBIBYTE, dtype=np.uint8))
        if len(held) > 3:
            raise MemoryError
    return [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss for _ in rows]


# What a model can find out


def environment() -> dict[str, str]:
    return dict(os.environ)


def own_environ_file() -> str:
    return Path("/proc/self/environ").read_bytes().decode(errors="replace")


def open_descriptors() -> dict[str, str]:
    """What each descriptor is, without the one that reads this."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found[descriptor.name] = str(descriptor.readlink())
        except FileNotFoundError:
            continue
    return found


def descriptors_of_a_program() -> list[str]:
    """What a program that a model starts without care inherits."""
    text = subprocess.check_output(
        "for each in /proc/self/fd/*; do readlink $each; done; true", shell=True, close_fds=False
    )
    return text.decode().split()


def modules_path() -> list[str]:
    return sys.path


def threads_of_libraries() -> str:
    return os.environ["OMP_NUM_THREADS"]


def random_number() -> float:
    return float(np.random.random())  # noqa: NPY002 - what models use


def process_id() -> int:
    return os.getpid()


def core_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_CORE)[0]


def out_of_memory_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def write_to_the_channel(text: str) -> str:
    """Send something of its own to the worker."""
    for name, what in open_descriptors().items():
        if what.startswith("socket:"):
            os.write(int(name), text.encode("latin-1"))
    return "sent"


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
        return odd(self.name)


def needs_recursion(depth: int = 100) -> int:
    return 1 + needs_recursion(depth - 1) if depth else 0


def touch(megabytes: int) -> int:
    """Use memory for a moment."""
    return len(np.ones(megabytes * MEBIBYTE, dtype=np.uint8)) // MEBIBYTE


def forget() -> str:
    _kept.clear()
    return "forgotten"


def attribute_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
