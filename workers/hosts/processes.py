"""Children, memory and parents of processes, from the kernel. Complete on Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: The second word of /proc/<pid>/statm counts resident pages.
_RESIDENT = 1
#: Words of /proc/<pid>/stat after the name: minor and major page faults.
_FAULTS = (7, 9)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: The niceness of processes that give way to others, from -20 to 19: they get the processor when others leave it, or
#: while they load, somewhat less of it than the worker.
NICE, LOADING_NICE = 10, 5
_CAP_SYS_ADMIN = 1 << 21
#: At threads of a process that starts some all the time.
_MOST_LOOKS = 3
#: From -1000 to 1000; the kernel's out-of-memory killer kills the highest first.
_KILLED_EARLY = "500"


def children(pid: int) -> list[int]:
    """Return the children of a process, including zombies."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - half the time of Path.iterdir()
    except OSError:
        return []
    return [int(child) for task in tasks for child in _read(f"/proc/{pid}/task/{task}/children").split()]


def exited_child() -> int | None:
    """Return a child that has exited and whose status is still there to wait for; None if none has.

    Raises:
        ChildProcessError: there is no child.
    """
    if hasattr(os, "waitid"):
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended.si_pid if ended else None
    return next(filter(_is_zombie, children(os.getpid())), None)  # PyPy has no such call


def _is_zombie(pid: int) -> bool:
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] == [b"Z"]


def own_memory_bytes(pid: int) -> int:
    """Return the resident memory of one process; 0 if it has ended."""
    if sys.platform == "linux":
        words = _read(f"/proc/{pid}/statm").split()
        return int(words[_RESIDENT]) * _PAGE_BYTES if words else 0
    else:  # noqa: RET505 - mypy checks one branch for each platform
        import psutil

        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants; shared memory counts for each."""
    total, found = 0, [pid]
    while found:
        each = found.pop()
        total += own_memory_bytes(each)
        found += children(each)
    return total


class MemoryUsage(NamedTuple):
    """The memory of a process and its descendants."""

    #: Each shared page counts in equal parts for the processes that have it, so that sums count it once.
    pss_bytes: int
    #: What no other process has: its end frees this.
    private_bytes: int


def memory_usage(pid: int) -> MemoryUsage:
    """Return the memory of a process and all its descendants; zeros if it has ended. It takes a millisecond or more.

    Where the kernel counts no shared pages, all resident memory counts as private.
    """
    pss, private, found = 0, 0, [pid]
    while found:
        each = found.pop()
        own = own_memory_usage(each)
        pss, private = pss + own.pss_bytes, private + own.private_bytes
        found += children(each)
    return MemoryUsage(pss, private)


def page_faults(pid: int) -> int:
    """Return how many page faults a process and its descendants have had: without new ones they have no more memory.

    It takes a hundredth of the time of `memory_usage`.
    """
    total, found = 0, [pid]
    while found:
        each = found.pop()
        words = _read(f"/proc/{each}/stat").rpartition(b")")[2].split()
        total += sum(int(words[at]) for at in _FAULTS) if words else 0
        found += children(each)
    return total


def own_memory_usage(pid: int) -> MemoryUsage:
    """Return the memory of one process; zeros if it has ended."""
    text = _read(f"/proc/{pid}/smaps_rollup").decode(errors="replace")
    sizes = {name: int(value.split()[0]) * 1024 for name, _, value in _sizes(text)}
    if not sizes:
        resident = own_memory_bytes(pid)
        return MemoryUsage(resident, resident)
    private = sum(size for name, size in sizes.items() if name.startswith("Private_"))
    return MemoryUsage(sizes.get("Pss", 0), private)


def _sizes(text: str) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in text.splitlines() if line.endswith(" kB")]


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def die_first_without_memory() -> None:
    """Let the kernel kill this process before others when the machine is out of memory (Linux only)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            Path("/proc/self/oom_score_adj").write_text(_KILLED_EARLY)


@cache
def can_be_less_nice() -> bool:
    """Whether this process may lower a niceness again that it has raised, which takes a right.

    Tried on a thread that ends (Linux only): its rights don't tell, since those in a user namespace don't count here.
    """
    if sys.platform != "linux":
        return False
    import threading

    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(_lowers_own_niceness(threading.get_native_id())))
    thread.start()
    thread.join()
    return found == [True]


def _lowers_own_niceness(thread: int) -> bool:
    usual = os.getpriority(os.PRIO_PROCESS, thread)
    try:
        os.setpriority(os.PRIO_PROCESS, thread, usual + 1)
        os.setpriority(os.PRIO_PROCESS, thread, usual)
    except OSError:
        return False
    return True


@cache
def _rights() -> int:
    """Return the capabilities of this process, as bits."""
    found = re.search(rb"^CapEff:\s*(\w+)", _read("/proc/self/status"), re.MULTILINE)
    return int(found[1], 16) if found else 0


def own_niceness() -> int:
    """Return the niceness of this process."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def set_niceness(pid: int, niceness: int) -> None:
    """Set the niceness of all threads of a process, which it and its later threads have, and of its session.

    Where the kernel groups processes by session (autogroup), a process alone in its session competes with others by the
    niceness of the group. Does nothing if the process has ended.

    Raises:
        OSError: the operating system refuses.
    """
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        known: set[str] = set()
        for _ in range(_MOST_LOOKS):  # a thread that began meanwhile may have the niceness of before
            found = set(os.listdir(f"/proc/{pid}/task")) - known  # noqa: PTH208 - as above
            for thread in found:
                with contextlib.suppress(ProcessLookupError):  # it has ended, others have not
                    os.setpriority(os.PRIO_PROCESS, int(thread), niceness)
            known |= found
            if not found:
                break
        # Others may not change it as often as this may be needed. A process that begins may still be in its parent's.
        if _rights() & _CAP_SYS_ADMIN and os.getsid(pid) == pid:
            with contextlib.suppress(OSError):  # there are no such groups
                Path(f"/proc/{pid}/autogroup").write_text(str(niceness), encoding="ascii")


def _read(path: str) -> bytes:
    """Return the content of a file in /proc; empty if the process has ended."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - read many times a second
            return file.read()
    except OSError:
        return b""
