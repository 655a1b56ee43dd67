"""The process that model hosts are forked from: clean of credentials, with heavy libraries imported.

It is started by a worker with an environment of its own (`launcher.scrubbed_environment`), so that
neither it nor a host ever had a broker's or a database's URL in its memory. It speaks with the worker
over one socket: requests are five bytes, an operation and a pid; answers are lines of text.
When the worker is gone, so is the socket, and then the hosts, what they have started, and this process.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn, TextIO

from workers.hosts import processes

#: Fork a host that serves the socket sent along. Answer: "spawned <pid>" or "refused <reason>".
SPAWN = b"S"
#: Kill this host, if it still runs. Answer, once it has ended: "exited <pid> <status>".
KILL = b"K"
REQUEST = struct.Struct(">cI")

#: What most models need; whatever isn't installed is left out.
_PRELOADED = (
    "workers.hosts.host",
    "registry.runtimes",
    "registry.signature",
    "numpy",
    "joblib",
    "cloudpickle",
    "sklearn.pipeline",
    "sklearn.ensemble",
    "sklearn.linear_model",
)
#: A killed process that is still there after this long is stuck in the kernel.
_LAST_KILLS_S = 3.0
_LOOK_INTERVAL_S = 0.1


def main(control_fd: int) -> None:
    """Serve a worker's requests until it closes the control socket."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A whole process group or cgroup may get these: how hosts end then is the worker's decision.
        signal.signal(number, _do_nothing)
    processes.adopt_orphans()
    _preload()
    with socket.socket(fileno=control_fd) as control:
        control.set_inheritable(False)
        _Forkserver(control).run()


def _preload() -> None:
    for module in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    from registry import runtimes

    runtimes.names()  # imports them
    # What is there now stays: collecting garbage in a host must not copy the pages that it shares.
    gc.collect()
    gc.freeze()


def _do_nothing(*_: object) -> None:
    """Handle a signal. Other than SIG_IGN, this is forgotten by the programs that a model starts."""


class _Forkserver:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._hosts: set[int] = set()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            while self._serve_once():
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker is gone
        finally:
            self._end_hosts()

    def _serve_once(self) -> bool:
        ready, _, _ = select.select([self._control, self._woken], [], [])
        if self._woken in ready:
            self._woken.recv(4096)
            for pid, status in self._ended():
                self._tell(f"exited {pid} {status}")
        return self._control not in ready or self._serve_request()

    def _serve_request(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            return False
        operation, pid = REQUEST.unpack(request)
        if operation == SPAWN:
            self._spawn(descriptors)
        elif pid in self._hosts:
            _kill(pid)
        return True

    def _spawn(self, descriptors: list[int]) -> None:
        if not descriptors:
            self._tell(f"refused {os.strerror(errno.EMFILE)}")  # which is why the kernel has dropped it
            return
        try:
            with socket.socket(fileno=descriptors[0]) as channel:
                channel.set_inheritable(False)
                pid = os.fork()
                if pid == 0:
                    self._become_host(channel)
        except OSError as error:
            self._tell(f"refused {error.strerror}")
        else:
            self._hosts.add(pid)
            self._tell(f"spawned {pid}")

    def _become_host(self, channel: socket.socket) -> NoReturn:
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            processes.die_with_parent()
            processes.adopt_orphans()
            processes.die_first_without_memory()
            for end in (self._control, self._woken, self._waker):
                end.close()
            from workers.hosts.host import serve

            serve(channel)
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
            with contextlib.suppress(BaseException):  # a model may have closed what this is written to
                traceback.print_exc()
        finally:
            # Never back into the forkserver's own stack.
            _flush(sys.stdout, sys.stderr)
            os._exit(status)

    def _ended(self) -> Iterator[tuple[int, int]]:
        """Yield pid and exit status of the hosts that have ended; what they leave behind is killed."""
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                pid = ended.si_pid
                if pid in self._hosts:
                    _kill(pid)  # its process group; before the wait, because then the number is free again
                _, status = os.waitpid(pid, 0)
                if pid in self._hosts:
                    self._hosts.remove(pid)
                    yield pid, os.waitstatus_to_exitcode(status)
        # Hosts adopt the orphans of their children, so an adopted one here was a dead host's.
        for orphan in set(processes.children(os.getpid())) - self._hosts:
            _kill(orphan)

    def _end_hosts(self) -> None:
        for pid in self._hosts:
            _kill(pid)
        ends_at = time.monotonic() + _LAST_KILLS_S
        while time.monotonic() < ends_at:
            for _ in self._ended():
                pass  # nobody is there to be told
            if not self._hosts and not processes.children(os.getpid()):
                return
            select.select([self._woken], [], [], _LOOK_INTERVAL_S)
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)

    def _tell(self, line: str) -> None:
        self._control.sendall(line.encode() + b"\n")


def _kill(pid: int) -> None:
    """Kill a child that was not waited for yet, and its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    # It may not have got as far as its own process group.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _flush(*streams: TextIO | None) -> None:
    for stream in filter(None, streams):
        with contextlib.suppress(BaseException):
            stream.flush()
