"""`python -m api.serve`: the HTTP API on Waitress, the server that the Procfile's `web` runs.

Every held long poll has a thread of its own, and there are more threads than polls may be held, so
that submits always find one (docs/decisions.md has the measurement).
"""

from __future__ import annotations

import logging
import resource
import signal
import sys
import time
from importlib.metadata import version
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from api import services
from api.app import create_app
from api.errors import AddressTaken, ApiError
from api.settings import ApiSettings, load
from registry.database import default_database
from registry.errors import RegistryError
from workers.errors import WorkerError
from workers.settings import load as worker_settings

_log = logging.getLogger(__name__)

#: Connections that are waiting to be accepted, of clients that come all at once.
_BACKLOG = 1_024
#: Idle connections cost a socket each; clients keep them for a while.
_IDLE_CONNECTION_S = 75
#: Open files besides those of connections: the program's own, and what libraries hold.
_FILES_IN_RESERVE = 256
#: How long the answers of requests that are under way may take when the server is told to end.
_LAST_ANSWERS_S = 5.0
_LOOK_S = 0.1


class Server:
    """Listens from the beginning, and answers once `run` is called.

    Raises:
        AddressTaken: it can't listen where the settings say.
    """

    def __init__(self, settings: ApiSettings) -> None:
        app = create_app(settings)
        self._services = services.of(app)
        self._sockets: dict[int, Any] = {}
        self._ends_at: float | None = None
        threads = settings.max_held_waits + settings.request_threads
        try:
            create_server(
                app,
                map=self._sockets,
                host=settings.host,
                port=settings.port,
                threads=threads,
                backlog=_BACKLOG,
                connection_limit=_room_for_connections(2 * threads),
                channel_timeout=_IDLE_CONNECTION_S,
                max_request_body_size=settings.max_artifact_bytes + 2 * settings.max_body_bytes,
                ident="queuecast",
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AddressTaken(
                f"The HTTP API can't listen on {settings.host}:{settings.port} ({reason}): another program "
                "may have the port. QUEUECAST_PORT and QUEUECAST_HOST choose another."
            ) from error

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as `http://host:port`."""
        return [f"http://{each.effective_host}:{each.effective_port}" for each in self._listeners()]

    def run(self) -> None:
        """Answer requests; returns after `end`, once nothing is being answered any more."""
        while not self._is_over():
            wasyncore.loop(timeout=_LOOK_S, use_poll=True, map=self._sockets, count=1)

    def end(self) -> None:
        """Take no new connections, answer held polls with their jobs as they stand, and let `run` return.

        Safe in a signal handler. The second time, what is still being answered is given up.
        """
        first = self._ends_at is None
        self._ends_at = time.monotonic() + (_LAST_ANSWERS_S if first else 0)
        if first:
            self._services.release_waits()

    def _is_over(self) -> bool:
        if self._ends_at is None:
            return False
        for listener in self._listeners():
            wasyncore.dispatcher.close(listener)
        channels = [each for each in self._sockets.values() if isinstance(each, HTTPChannel)]
        # An answer is on its way until its last byte has gone to the system.
        answering = any(each.requests or each.total_outbufs_len for each in channels)
        return not answering or time.monotonic() >= self._ends_at

    def _listeners(self) -> list[Any]:
        return [each for each in self._sockets.values() if isinstance(each, BaseWSGIServer)]


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
    logging.basicConfig(format="[%(asctime)s: %(levelname)s/api] %(message)s", level=logging.INFO)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        # What is set wrong is said now and not at the first request.
        default_database()
        worker_settings()
        server = Server(load())
    except (ApiError, RegistryError, WorkerError) as error:
        _log.error("%s", error)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.end())
    _log.info("The HTTP API listens on %s (Waitress %s)", ", ".join(server.addresses), version("waitress"))
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
