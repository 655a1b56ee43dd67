"""The process that forks model hosts: it has no credentials, and imports the libraries of their runtime.

A worker starts one for each set of libraries, with a clean environment (`launcher.scrubbed_environment`), so neither it
nor a host ever has the URL of a broker or database in its memory. It talks to the worker over one socket: requests are
five bytes, an operation and a number; replies are lines of text, the first "hello <protocol> <Python's version>".
When the worker exits, or closes the socket because no host is needed, the forkserver kills the hosts and their child
processes, and exits.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import platform
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn, TextIO

from registry import runtimes
from workers.hosts import frames, processes
from workers.hosts.host_side.host import serve
from workers.platform.process_title import set_title

#: Fork a host that serves the attached socket. Reply: "spawned <pid>" or "refused <reason>".
SPAWN = b"S"
#: Kill this host if it still runs. Reply, once it has exited: "exited <pid> <status>".
KILL = b"K"
#: Import modules; the number is the length of their names, which follow with spaces between. No reply.
PRELOAD = b"P"
REQUEST = struct.Struct(">cI")
#: A killed process that still exists after this long is stuck in the kernel.
_LAST_KILLS_S = 3.0
_CHECK_INTERVAL_S = 0.1


def main(control_fd: int) -> None:
    """Serve a worker's requests until it closes the control socket."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A whole process group or cgroup may get these signals; the worker decides how hosts end.
        signal.signal(number, _do_nothing)
    processes.adopt_orphans()
    set_title(f"forkserver of {os.getppid()}")
    runtimes.names()  # imports them
    _freeze()
    with socket.socket(fileno=control_fd) as control:
        control.set_inheritable(False)
        _Forkserver(control).run()


def _freeze() -> None:
    """Freeze all objects: garbage collection in a host must not copy the shared pages."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy has no such function
        gc.freeze()


def _do_nothing(*_: object) -> None:
    """Ignore a signal. Unlike SIG_IGN, programs that a model starts don't inherit this."""


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
            self._reply(f"hello {frames.PROTOCOL} {platform.python_version()}")
            while self._serve_once():
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker has exited
        finally:
            self._end_hosts()

    def _serve_once(self) -> bool:
        ready, _, _ = select.select([self._control, self._woken], [], [])
        if self._woken in ready:
            self._woken.recv(4096)
            for pid, status in self._reap():
                self._reply(f"exited {pid} {status}")
        return self._control not in ready or self._serve_request()

    def _serve_request(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            return False
        operation, number = REQUEST.unpack(request)
        if operation == SPAWN:
            self._spawn(descriptors)
        elif operation == PRELOAD:
            # PyPy really receives 0 bytes, and with them the kernel drops the descriptor of the next request.
            names = self._control.recv(number, socket.MSG_WAITALL) if number else b""
            runtimes.preload(names.decode().split())
            _freeze()
        elif number in self._hosts:
            _kill(number)
        return True

    def _spawn(self, descriptors: list[int]) -> None:
        if not descriptors:
            self._reply(f"refused {os.strerror(errno.EMFILE)}")  # the kernel drops a descriptor only for this reason
            return
        try:
            with socket.socket(fileno=descriptors[0]) as channel:
                channel.set_inheritable(False)
                pid = os.fork()
                if pid == 0:
                    self._become_host(channel)
        except OSError as error:
            self._reply(f"refused {error.strerror}")
        else:
            self._hosts.add(pid)
            self._reply(f"spawned {pid}")

    def _become_host(self, channel: socket.socket) -> NoReturn:
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            processes.die_with_parent()
            processes.adopt_orphans()
            processes.die_first_without_memory()
            set_title("host that loads")
            for end in (self._control, self._woken, self._waker):
                end.close()
            serve(channel)
            status = 0
        except BaseException:  # noqa: BLE001 - after any error this process ends here
            with contextlib.suppress(BaseException):  # a model may have closed the stream
                traceback.print_exc()
        finally:
            # Never return into the forkserver's own stack.
            _flush(sys.stdout, sys.stderr)
            os._exit(status)

    def _reap(self) -> Iterator[tuple[int, int]]:
        """Yield pid and exit status of the hosts that have exited; kill the processes that they leave behind."""
        with contextlib.suppress(ChildProcessError):
            while (pid := processes.exited_child()) is not None:
                if pid in self._hosts:
                    _kill(pid)  # its process group; before the wait, which frees the number
                _, status = os.waitpid(pid, 0)
                if pid in self._hosts:
                    self._hosts.remove(pid)
                    yield pid, os.waitstatus_to_exitcode(status)
        # Hosts adopt the orphans of their children, so an orphan adopted here belonged to a dead host.
        for orphan in set(processes.children(os.getpid())) - self._hosts:
            _kill(orphan)

    def _end_hosts(self) -> None:
        for pid in self._hosts:
            _kill(pid)
        ends_at = time.monotonic() + _LAST_KILLS_S
        while time.monotonic() < ends_at:
            for _ in self._reap():
                pass  # the worker has exited and needs no reply
            if not self._hosts and not processes.children(os.getpid()):
                return
            select.select([self._woken], [], [], _CHECK_INTERVAL_S)
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)

    def _reply(self, line: str) -> None:
        self._control.sendall(line.encode() + b"\n")


def _kill(pid: int) -> None:
    """Kill a child that was not yet waited for, and its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    # It may not have created its own process group yet.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _flush(*streams: TextIO | None) -> None:
    for stream in filter(None, streams):
        with contextlib.suppress(BaseException):
            stream.flush()
