"""`python -m api.serve`: the HTTP API on Granian, the server that the Procfile's `web` runs.

Every held long poll has a thread of its own, and there are more threads than polls may be held, so that
submits always find one (docs/decisions.md has the measurement). Granian keeps the listening process under
another one that starts and ends it; the two share a pipe, whose end says that nobody is to be held any more.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from api import services
from api.app import create_app
from api.errors import AddressTaken, ApiError
from api.settings import ApiSettings, load
from registry.database import default_database
from registry.errors import RegistryError
from workers import garbage, logs
from workers.errors import WorkerError
from workers.settings import load as worker_settings

_log = logging.getLogger(__name__)
_TEXT = "[%(asctime)s: %(levelname)s/api] %(message)s"

#: Connections that are waiting to be accepted, of clients that come all at once.
_BACKLOG = 1_024
#: Idle connections cost a socket each; clients keep them for a while.
_IDLE_CONNECTION_MS = 75_000
#: Open files besides those of connections: the program's own, and what libraries hold.
_FILES_IN_RESERVE = 256
#: How long the answers of requests that are under way may take when the server is told to end.
_LAST_ANSWERS_S = 5
_LOOK_S = 0.02
#: Its messages go where all others go.
_LOGGING = {"incremental": True, "handlers": {}, "loggers": {"_granian": {}}}


class Server:
    """Has an address, and listens there once `run` is called.

    Raises:
        AddressTaken: it can't listen where the settings say.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self.host, self.port = _free_address(settings)
        self._settings = settings
        # The listening process hears of the end of this pipe, however this process ends.
        self._told, self._telling = os.pipe()
        self._ending = False
        threads = settings.max_held_waits + settings.request_threads
        self._granian = Granian(
            "api.app:create_app",
            address=self.host,
            port=self.port,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            websockets=False,
            blocking_threads=threads,
            backlog=_BACKLOG,
            # What it counts are connections.
            backpressure=_room_for_connections(2 * threads),
            http1_settings=HTTP1Settings(header_read_timeout=_IDLE_CONNECTION_MS),
            workers_kill_timeout=_LAST_ANSWERS_S,
            respawn_failed_workers=True,
            log_level=LogLevels.error,
            log_dictconfig=_LOGGING,
        )
        self._granian.on_startup(self._take_signals)

    def run(self) -> None:
        """Answer requests until SIGTERM or SIGINT, and then what is under way.

        The first signal ends all held waits; the second gives up what is still being answered.
        """
        self._granian.serve(target_loader=self._listening_app, wrap_loader=False)

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end())

    def _end(self) -> None:
        if self._ending:
            for process in self._granian.wrks:
                process.kill()  # type: ignore[no-untyped-call]
            return
        self._ending = True
        os.close(self._telling)
        self._granian.signal_handler_interrupt()  # type: ignore[no-untyped-call]

    def _listening_app(self) -> Flask:
        """Make the app; called in the process that listens."""
        os.close(self._telling)
        app = create_app(self._settings)
        garbage.collect_less()
        threading.Thread(target=self._stay, args=(services.of(app), os.getppid()), daemon=True).start()
        return app

    def _stay(self, held: services.Services, parent_pid: int) -> None:
        _until(lambda: _answers(self.host, self.port))
        _log.info("The HTTP API listens on http://%s:%d (Granian %s)", self.host, self.port, version("granian"))
        os.read(self._told, 1)
        held.release_waits()
        # Which waits for this process, unless it was killed.
        _until(lambda: os.getppid() != parent_pid)
        os.kill(os.getpid(), signal.SIGTERM)


def _free_address(settings: ApiSettings) -> tuple[str, int]:
    """Return an address as numbers. Granian's sockets share ports, so whether it is free is found out here."""
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            host, port, *_ = probe.getsockname()
            return host, port
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AddressTaken(
            f"The HTTP API can't listen on {settings.host}:{settings.port} ({reason}): another program "
            "may have the port. QUEUECAST_PORT and QUEUECAST_HOST choose another."
        ) from error


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def _until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(_LOOK_S)


def _room_for_connections(wanted: int) -> int:
    """Ask the system for enough open files; return how many connections there is room for."""
    # Behind a connection there may be another one, to Redis.
    files = 2 * wanted + _FILES_IN_RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= files:
        return wanted
    room = max(16, (soft - _FILES_IN_RESERVE) // 2)
    _log.warning("The system allows %d open files: only %d connections are taken at once", soft, room)
    return room


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    logging.basicConfig(format=_TEXT, level=logging.INFO)
    try:
        # What is set wrong is said now and not at the first request.
        logs.set_form(worker_settings().log_format, "api", _TEXT)
        default_database()
        server = Server(load())
    except (ApiError, RegistryError, WorkerError) as error:
        _log.error("%s", error)
        return 1
    # The listening process is this one's copy, with all that is loaded.
    multiprocessing.set_start_method("fork")
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
