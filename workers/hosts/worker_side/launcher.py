"""Starts and kills model hosts through forkservers, which this module keeps running while they are needed."""

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

from registry import runtimes
from registry.errors import RuntimeUnknown
from registry.hosting import environment, own_packages
from workers.errors import HostStartFailed
from workers.hosts import frames
from workers.hosts.host_side.forkserver import KILL, PRELOAD, REQUEST, SPAWN
from workers.hosts.worker_side.host import RemoteHost

_log = logging.getLogger(__name__)

_SPAWN_TIMEOUT_S = 60
#: The buffer of the control socket has room for so many requests.
_SPAWNED_AT_ONCE = 32
_CLOSE_TIMEOUT_S = 5
_RETRY_S = 0.05
#: A forkserver ends after this long without hosts. Longer than the pause before another start of a host that failed.
_IDLE_S = 600.0
_READ_BUFFER_BYTES = 1 << 20
_ENDED = "the forkserver has exited"
_PROGRAM = "import sys; from workers.hosts.host_side.forkserver import main; main(int(sys.argv[1]))"
#: In an environment: that has its own libraries, so this project's folder is on the path only until its packages are
#: found, with none of the libraries beside them.
_PROGRAM_ELSEWHERE = own_packages.import_from_argument("fd") + (
    "from workers.hosts.host_side.forkserver import main; main(int(fd))"
)


def scrubbed_environment(threads: int, gpu: str | None = None) -> dict[str, str]:
    """Return the environment of hosts: no URLs, no credentials, at most `threads` threads each, and one GPU or none.

    The module search path is that of this process and the working directory.
    """
    here = str(Path.cwd())
    folders = dict.fromkeys([*(str(Path(path).absolute()) if path else here for path in sys.path), here])
    return environment.scrubbed(threads, list(folders), gpu)


class HostLauncher:
    """Starts hosts; belongs to one event loop.

    Each interpreter (the worker's own, or that of an environment) has a forkserver for each set of libraries that
    runtimes need, so that a host has the libraries of its own runtime alone; and so has each GPU, which is the only one
    that those libraries see from their import on. It starts when it is first needed, and ends when it has had no hosts
    for a while.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        #: By the interpreter (None is the worker's own), the libraries and the GPU.
        self._forkservers: dict[tuple[str | None, tuple[str, ...], str | None], _Forkserver] = {}
        #: Has no libraries yet, and the worker's own interpreter.
        self._spare: _Forkserver | None = None
        self._closed = False
        self._turns = asyncio.Semaphore(_SPAWNED_AT_ONCE)

    def start_spare(self) -> None:
        """Start a forkserver before it is known which libraries the first hosts need, without waiting."""
        try:
            self._spare = _Forkserver(self._threads)
        except OSError as error:
            _log.warning("starting a forkserver failed (%s)", error)

    @property
    def forkserver_pids(self) -> list[int]:
        """The processes that hosts are forked from."""
        forkservers = [*self._forkservers.values(), *([self._spare] if self._spare else [])]
        return [each.pid for each in forkservers if not each.lost]

    def warm_up(self, runtime: str, python: str | None = None) -> None:
        """Start importing the libraries of a runtime, once for all its hosts without a GPU, without waiting."""
        try:
            self._running(runtime, python)
        except (OSError, EOFError) as error:
            _log.warning("preloading the libraries of runtime %s failed (%s)", runtime, error)

    async def spawn(
        self, runtime: str, max_memory_bytes: int | None = None, python: str | None = None, gpu: str | None = None
    ) -> RemoteHost:
        """Start a host of a runtime without a model, in another interpreter and with a GPU if they are named.

        Raises:
            HostStartFailed: the operating system or the forkserver refuses.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # no descriptor is free
            raise HostStartFailed(f"Starting a model host failed: {error}.") from error
        try:
            with theirs:
                async with self._turns:
                    forkserver, pid, exited = await self._spawn_from_running(runtime, python, gpu, theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_READ_BUFFER_BYTES)
        except BaseException as error:
            ours.close()  # this also ends the host, if it already exists
            if isinstance(error, OSError | EOFError):
                raise HostStartFailed(f"Starting a model host failed: {error}.") from error
            raise
        host = RemoteHost(pid, reader, writer, exited, lambda: forkserver.kill(pid), max_memory_bytes)
        host.gpu = gpu
        return host

    def close(self) -> None:
        """Kill all hosts and forkservers; block until they have exited. Any thread may call it."""
        self._closed = True
        forkservers = [*self._forkservers.values(), *filter(None, [self._spare])]
        for forkserver in forkservers:
            forkserver.end()
        for forkserver in forkservers:
            forkserver.wait()

    async def _spawn_from_running(
        self, runtime: str, python: str | None, gpu: str | None, channel: socket.socket
    ) -> tuple[_Forkserver, int, asyncio.Future[int]]:
        try:
            forkserver = self._running(runtime, python, gpu)
            return forkserver, *await forkserver.spawn(channel)
        except EOFError:
            # It has died since its last use. If the next one dies too, raise that error.
            forkserver = self._running(runtime, python, gpu)
            return forkserver, *await forkserver.spawn(channel)

    def _running(self, runtime: str, python: str | None, gpu: str | None = None) -> _Forkserver:
        if self._closed:
            raise HostStartFailed("The worker is stopping: starting no model hosts.")
        key = python, _libraries_of(runtime), gpu
        forkserver = self._forkservers.get(key)
        if forkserver is None or forkserver.lost:
            forkserver = self._forkservers[key] = self._unused(python, gpu)
            forkserver.preload(key[1])
        return forkserver

    def _unused(self, python: str | None, gpu: str | None) -> _Forkserver:
        if python is not None or gpu is not None:
            return _Forkserver(self._threads, python, gpu)
        unused, self._spare = self._spare, None
        return unused if unused is not None and not unused.lost else _Forkserver(self._threads)


def _libraries_of(runtime: str) -> tuple[str, ...]:
    try:
        return runtimes.get(runtime).preloaded
    except RuntimeUnknown:
        return ()  # the host reports it


class _Forkserver:
    """One forkserver process, from its start to its end."""

    def __init__(self, threads: int, python: str | None = None, gpu: str | None = None) -> None:
        #: It has exited, is about to, or can't be reached, and its hosts are dead.
        self.lost = False
        #: Why its hosts can't be used; "" as long as they can.
        self._unusable = ""
        self._closing = False
        #: Answered in order, with the pid and the future of the exit status.
        self._spawning: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = self._start_process(theirs.fileno(), threads, python, gpu)
        self._loop = asyncio.get_running_loop()
        self._retirement = self._loop.call_later(_IDLE_S, self._retire_if_idle)
        self._reader_task = self._loop.create_task(self._read_replies())

    def _start_process(
        self, control_fd: int, threads: int, python: str | None, gpu: str | None
    ) -> subprocess.Popen[bytes]:
        if python is None:
            command, wanted = [sys.executable, "-P", "-c", _PROGRAM], scrubbed_environment(threads, gpu)
        else:
            command = [python, "-I", "-c", _PROGRAM_ELSEWHERE, own_packages.PLACE]
            wanted = environment.scrubbed(threads, [], gpu)
        try:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*command, str(control_fd)],
                env=wanted,
                pass_fds=[control_fd],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def spawn(self, channel: socket.socket) -> tuple[int, asyncio.Future[int]]:
        """Fork a host; return its pid and the future of its exit status.

        Raises:
            EOFError: the forkserver has exited.
            OSError: the forkserver could not fork, or didn't reply.
        """
        spawned: asyncio.Future[tuple[int, asyncio.Future[int]]] = self._loop.create_future()
        try:
            socket.send_fds(self._control, [REQUEST.pack(SPAWN, 0)], [channel.fileno()])
        except ConnectionError as error:
            self.lost = True  # before the reader notices
            raise EOFError(_ENDED) from error
        self._spawning.append(spawned)
        self._put_off_retirement()
        try:
            return await asyncio.wait_for(spawned, _SPAWN_TIMEOUT_S)
        except TimeoutError as error:
            _log.error("killing the forkserver (pid %d): it does not reply", self._process.pid)
            self._process.kill()
            raise OSError(f"the forkserver did not reply within {_SPAWN_TIMEOUT_S} s") from error

    def preload(self, modules: tuple[str, ...]) -> None:
        """Let the forkserver import modules before it forks the next host. Raises EOFError if it has exited."""
        names = " ".join(modules).encode()
        try:
            self._control.sendall(REQUEST.pack(PRELOAD, len(names)) + names)
        except ConnectionError as error:
            self.lost = True
            raise EOFError(_ENDED) from error

    def kill(self, pid: int) -> None:
        """Request the kill of one of its hosts."""
        if self.lost or self._closing:
            return  # the kernel kills the hosts with their forkserver
        try:
            self._control.send(REQUEST.pack(KILL, pid))
        except BlockingIOError:
            self._loop.call_later(_RETRY_S, self.kill, pid)
        except OSError:
            _log.warning("killing host %d through the forkserver failed", pid, exc_info=True)

    def end(self) -> None:
        """Let it kill its hosts and exit; the reader notices and cleans up. Any thread may call it."""
        self._closing = True
        with suppress(OSError):
            # Not `close`, because the reader has a descriptor of its own.
            self._control.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Block until it has exited; kill it if that takes long. Any thread may call it."""
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _put_off_retirement(self) -> None:
        self._retirement.cancel()
        self._retirement = self._loop.call_later(_IDLE_S, self._retire_if_idle)

    def _retire_if_idle(self) -> None:
        if self._spawning or self._exits:
            return  # the next reply puts it off again
        self.lost = True
        self.end()

    async def _read_replies(self) -> None:
        # A second descriptor, because asyncio closes the one that it reads.
        reader, writer = await asyncio.open_unix_connection(sock=self._control.dup())
        try:
            while not self._unusable and (line := await reader.readline()):
                what, _, rest = line.decode().strip().partition(" ")
                self._handle_reply(what, rest)
        except ConnectionError:
            _log.warning("lost the connection to the forkserver")
        finally:
            writer.close()
            self._mark_lost()
        if not self._closing:
            _log.error("the forkserver (pid %d) has exited; the next host starts another", self._process.pid)
            self._process.kill()
        await asyncio.to_thread(self.wait)

    def _handle_reply(self, what: str, rest: str) -> None:
        self._put_off_retirement()
        if what == "hello":
            self._check_protocol(*rest.split())
            return
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
            self.kill(int(rest))  # its caller has given up
        else:
            waiting.set_result((int(rest), exited))

    def _check_protocol(self, protocol: str, python: str) -> None:
        if protocol != str(frames.PROTOCOL):
            self._unusable = (
                f"the forkserver (Python {python}) has protocol {protocol} of model hosts, and this worker has "
                f"{frames.PROTOCOL}: restart the worker, so that both run the same release"
            )
            self.lost = True
            self.end()

    def _mark_lost(self) -> None:
        """Mark the forkserver and its hosts as lost, and fail all pending calls."""
        self.lost = True
        self._retirement.cancel()
        self._control.close()
        for pid, exited in self._exits.items():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # the kernel has killed the host, but not its children
            exited.set_result(-signal.SIGKILL)
        self._exits.clear()
        for waiting in self._spawning:
            if not waiting.done():
                waiting.set_exception(OSError(self._unusable) if self._unusable else EOFError(_ENDED))
        self._spawning.clear()
