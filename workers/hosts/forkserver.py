"""The process that model hosts are forked from: clean of credentials, with heavy libraries imported.

It is started by a worker with an environment of its own (`launcher.scrubbed_environment`), so that
neither it nor a host ever had a broker's or a database's URL in its memory. It speaks with the worker
over one socket: requests are five bytes, an operation and a pid; answers are lines of text.
When the worker is gone, so is the socket, and then the hosts and this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import select
import signal
import socket
import struct
import sys
from typing import NoReturn

#: Fork a host that serves the socket sent along. Answer: "spawned <pid>".
SPAWN = b"S"
#: Kill this host, if it still runs. Answer, once it has ended: "exited <pid> <status>".
KILL = b"K"
REQUEST = struct.Struct(">cI")

#: What most models need; whatever isn't installed is left out.
_PRELOADED = (
    "registry.runtimes",
    "registry.signature",
    "numpy",
    "joblib",
    "cloudpickle",
    "sklearn.pipeline",
    "sklearn.ensemble",
    "sklearn.linear_model",
)
_PR_SET_PDEATHSIG = 1


def main(control_fd: int) -> None:
    """Serve a worker's requests until it closes the control socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    with socket.socket(fileno=control_fd) as control:
        _Forkserver(control).run()


class _Forkserver:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._hosts: set[int] = set()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            while self._serve_once():
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker is gone
        finally:
            for pid in self._hosts:
                self._kill(pid)

    def _serve_once(self) -> bool:
        ready, _, _ = select.select([self._control, self._woken], [], [])
        if self._woken in ready:
            self._woken.recv(4096)
            self._reap()
        return self._control not in ready or self._serve_request()

    def _serve_request(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            return False
        operation, pid = REQUEST.unpack(request)
        if operation == SPAWN:
            self._spawn(socket.socket(fileno=descriptors[0]))
        elif pid in self._hosts:
            self._kill(pid)
        return True

    def _spawn(self, channel: socket.socket) -> None:
        with channel:
            pid = os.fork()
            if pid == 0:
                self._become_host(channel)
        self._hosts.add(pid)
        self._tell(f"spawned {pid}")

    def _become_host(self, channel: socket.socket) -> NoReturn:
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with_parent()
            for end in (self._control, self._woken, self._waker):
                end.close()
            from workers.hosts.host import serve

            serve(channel)
            status = 0
        finally:
            # Never back into the forkserver's own stack, whatever the model's code has raised.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._hosts:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._hosts.discard(pid)
            self._tell(f"exited {pid} {os.waitstatus_to_exitcode(status)}")

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        # It may not have got as far as its own process group.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _tell(self, line: str) -> None:
        self._control.sendall(line.encode() + b"\n")


def _die_with_parent() -> None:
    """Have the kernel kill this process when the forkserver dies, however that comes (Linux only)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
