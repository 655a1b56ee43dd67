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
#: As many requests as the control socket surely takes.
_SPAWNED_AT_ONCE = 32
_CLOSE_TIMEOUT_S = 5
_RETRY_S = 0.05
_READ_BUFFER_BYTES = 1 << 20
_PROGRAM = "import sys; from workers.hosts.forkserver import main; main(int(sys.argv[1]))"


def scrubbed_environment(threads: int) -> dict[str, str]:
    """Return the environment of hosts: no URL, no credential, and at most `threads` threads each.

    Modules are found in the same places as here, and in the working directory.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    here = str(Path.cwd())
    places = dict.fromkeys([*(str(Path(path).absolute()) if path else here for path in sys.path), here])
    environment["PYTHONPATH"] = os.pathsep.join(places)
    return environment | dict.fromkeys(_THREAD_LIMITS, str(threads))


class HostLauncher:
    """Starts hosts; belongs to one event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._forkserver: _Forkserver | None = None
        self._closed = False
        self._turns = asyncio.Semaphore(_SPAWNED_AT_ONCE)

    def warm_up(self) -> None:
        """Have what most models need loaded, so that the first host doesn't wait for it."""
        try:
            self._running()
        except OSError as error:
            _log.warning("the forkserver can't be started yet (%s)", error)

    async def spawn(self, max_memory_bytes: int | None = None) -> RemoteHost:
        """Start a host that holds no model yet.

        Raises:
            HostStartFailed: the operating system or the forkserver refused.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                async with self._turns:
                    forkserver, pid, exited = await self._spawned(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_READ_BUFFER_BYTES)
        except BaseException as error:
            ours.close()  # which ends the host, if there is one already
            if isinstance(error, OSError | EOFError):
                raise HostStartFailed(f"A model host could not be started: {error}.") from error
            raise
        return RemoteHost(pid, reader, writer, exited, lambda: forkserver.kill(pid), max_memory_bytes)

    def close(self) -> None:
        """Kill every host and the forkserver; blocks until they have ended. Any thread may do it."""
        self._closed = True
        if self._forkserver is not None:
            self._forkserver.close()

    async def _spawned(self, channel: socket.socket) -> tuple[_Forkserver, int, asyncio.Future[int]]:
        try:
            forkserver = self._running()
            return forkserver, *await forkserver.spawn(channel)
        except (EOFError, ConnectionError):
            # It has died since it was used; if another one does too, that is the answer.
            forkserver = self._running()
            return forkserver, *await forkserver.spawn(channel)

    def _running(self) -> _Forkserver:
        if self._closed:
            raise HostStartFailed("No model host is started any more: the worker stops.")
        if self._forkserver is None or self._forkserver.lost:
            self._forkserver = _Forkserver(self._threads)
        return self._forkserver


class _Forkserver:
    """One forkserver process as this side sees it, from its start to its end."""

    def __init__(self, threads: int) -> None:
        #: It has ended, or can't be reached any more; so have its hosts.
        self.lost = False
        self._closing = False
        #: Answered in order, with the pid and the future that tells of its end.
        self._spawning: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = self._started(theirs.fileno(), scrubbed_environment(threads))
        self._loop = asyncio.get_running_loop()
        self._listener = self._loop.create_task(self._listen())

    def _started(self, control_fd: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-c", _PROGRAM, str(control_fd)],
                env=environment,
                pass_fds=[control_fd],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            raise

    async def spawn(self, channel: socket.socket) -> tuple[int, asyncio.Future[int]]:
        """Have it fork a host; return its pid and what tells of its end.

        Raises:
            EOFError, ConnectionError: it has ended.
            OSError: it could not fork, or didn't answer.
        """
        spawned: asyncio.Future[tuple[int, asyncio.Future[int]]] = self._loop.create_future()
        try:
            socket.send_fds(self._control, [REQUEST.pack(SPAWN, 0)], [channel.fileno()])
        except ConnectionError:
            self.lost = True  # before the listener has heard of it
            raise
        self._spawning.append(spawned)
        try:
            return await asyncio.wait_for(spawned, _SPAWN_TIMEOUT_S)
        except TimeoutError as error:
            _log.error("the forkserver (pid %d) does not answer and is killed", self._process.pid)
            self._process.kill()
            raise OSError(f"the forkserver did not answer in {_SPAWN_TIMEOUT_S} s") from error

    def kill(self, pid: int) -> None:
        """Kill one of its hosts, soon."""
        if self.lost or self._closing:
            return  # without a forkserver there is no host: the kernel kills them together
        try:
            self._control.send(REQUEST.pack(KILL, pid))
        except BlockingIOError:
            self._loop.call_later(_RETRY_S, self.kill, pid)
        except OSError:
            _log.warning("host %d could not be killed through the forkserver", pid, exc_info=True)

    def close(self) -> None:
        """End it and its hosts; the listener sees that, too, and takes care of the rest."""
        self._closing = True
        with suppress(OSError):
            # Not `close`: the listener reads from a descriptor of its own.
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            # Without its socket it kills its hosts and ends.
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _listen(self) -> None:
        # A second descriptor, because asyncio closes the one that it reads.
        reader, writer = await asyncio.open_unix_connection(sock=self._control.dup())
        try:
            while line := await reader.readline():
                what, _, rest = line.decode().strip().partition(" ")
                self._told(what, rest)
        except ConnectionError:
            _log.warning("the connection to the forkserver broke")
        finally:
            writer.close()
            self._end()
        if not self._closing:
            _log.error("the forkserver (pid %d) has ended; the next host starts another", self._process.pid)
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _told(self, what: str, rest: str) -> None:
        if what == "exited":
            pid, status = map(int, rest.split())
            self._exits.pop(pid).set_result(status)
            return
        waiting = self._spawning.popleft()
        if what == "refused":
            if not waiting.done():
                waiting.set_exception(OSError(rest))
            return
        exited = self._exits[int(rest)] = self._loop.create_future()
        if waiting.done():
            self.kill(int(rest))  # nobody waits for it any more
        else:
            waiting.set_result((int(rest), exited))

    def _end(self) -> None:
        """Take note that it has ended, and tell those who wait for something of it."""
        self.lost = True
        self._control.close()
        for pid, exited in self._exits.items():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # the kernel has killed the host, but not what it started
            exited.set_result(-signal.SIGKILL)
        self._exits.clear()
        for waiting in self._spawning:
            if not waiting.done():
                waiting.set_exception(EOFError("the forkserver has ended"))
        self._spawning.clear()
