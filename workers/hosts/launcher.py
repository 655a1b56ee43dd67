"""Starting and killing model hosts, through a forkserver that this module keeps running."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from workers.errors import HostStartFailed
from workers.hosts.forkserver import KILL, REQUEST, SPAWN
from workers.hosts.remote import RemoteHost

_log = logging.getLogger(__name__)

#: All that hosts see of the worker's environment.
_KEPT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
#: One host must not take every core: numerical libraries read these when they are loaded.
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_SPAWN_TIMEOUT_S = 60
_PROGRAM = "import sys; from workers.hosts.forkserver import main; main(int(sys.argv[1]))"


def scrubbed_environment(threads: int) -> dict[str, str]:
    """Return the environment of hosts: no URL, no credential, and at most `threads` threads each."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return environment | dict.fromkeys(_THREAD_LIMITS, str(threads))


class HostLauncher:
    """Starts hosts; belongs to one event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._listener: asyncio.Task[None] | None = None
        #: Answered in order, with the pid and the future that tells of its end.
        self._spawning: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}

    async def spawn(self) -> RemoteHost:
        """Start a host that holds no model yet.

        Raises:
            HostStartFailed: the operating system or the forkserver refused.
        """
        control = self._running_forkserver()
        ours, theirs = socket.socketpair()
        spawned: asyncio.Future[tuple[int, asyncio.Future[int]]] = asyncio.get_running_loop().create_future()
        self._spawning.append(spawned)
        try:
            with theirs:
                socket.send_fds(control, [REQUEST.pack(SPAWN, 0)], [theirs.fileno()])
            pid, exited = await asyncio.wait_for(spawned, _SPAWN_TIMEOUT_S)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except TimeoutError as error:
            ours.close()
            raise HostStartFailed(f"A model host could not be started in {_SPAWN_TIMEOUT_S} s.") from error
        except (OSError, EOFError) as error:
            ours.close()
            raise HostStartFailed(f"A model host could not be started: {error}.") from error
        return RemoteHost(pid, reader, writer, exited, lambda: self._kill(pid))

    def close(self) -> None:
        """Kill every host and the forkserver."""
        if self._listener is not None:
            self._listener.cancel()
        if self._control is not None:
            # The listener has a descriptor of its own, which a close would leave open.
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                # Without its socket it kills its hosts and ends.
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _running_forkserver(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                env=scrubbed_environment(self._threads),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control = ours
        self._listener = asyncio.get_running_loop().create_task(self._listen(ours, self._process))
        return ours

    async def _listen(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        # A second descriptor, because asyncio closes the one that it reads.
        reader, writer = await asyncio.open_unix_connection(sock=control.dup())
        try:
            while line := await reader.readline():
                what, pid, *status = line.decode().split()
                if what == "spawned":
                    self._spawned(int(pid))
                else:
                    self._exits.pop(int(pid)).set_result(int(status[0]))
        except ConnectionError:
            _log.warning("the connection to the forkserver broke")
        finally:
            writer.close()
        _log.error("the forkserver (pid %d) has ended; the next host starts another", process.pid)
        self._lost(control, process)

    def _lost(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        control.close()
        self._control = None
        process.poll()
        for exited in self._exits.values():
            exited.set_result(-signal.SIGKILL)
        self._exits.clear()
        while self._spawning:
            waiting = self._spawning.popleft()
            if not waiting.done():
                waiting.set_exception(EOFError("the forkserver has ended"))

    def _spawned(self, pid: int) -> None:
        exited = self._exits[pid] = asyncio.get_running_loop().create_future()
        waiting = self._spawning.popleft()
        if waiting.done():
            self._kill(pid)  # nobody waits for it any more
        else:
            waiting.set_result((pid, exited))

    def _kill(self, pid: int) -> None:
        if self._control is not None:
            try:
                self._control.send(REQUEST.pack(KILL, pid))
            except OSError:
                # Without a forkserver there is no host: the kernel kills them together.
                _log.warning("host %d could not be killed through the forkserver", pid, exc_info=True)
