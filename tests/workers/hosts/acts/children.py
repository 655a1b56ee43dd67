"""Processes and threads that a model starts."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.workers.hosts.acts.sizes import LONG_S


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


def note(path: str) -> int:
    """Write down who has predicted this row."""
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()} ")
    return os.getpid()


def start_threads() -> int:
    for _ in range(5):
        threading.Thread(target=time.sleep, args=(LONG_S,)).start()
    return threading.active_count()


def exit_soon_in_a_thread() -> str:
    threading.Timer(0.2, os._exit, (5,)).start()
    return "soon"
