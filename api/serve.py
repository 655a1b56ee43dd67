"""`python -m api.serve`: the HTTP API on Granian, the server that the Procfile's `web` runs.

Hot operations are answered on the event loop, also while they wait; all others by the Flask app, in threads
(docs/explanation/architecture.md). The first process on a port starts the others, if there are more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from importlib.metadata import version

from api.app import create_app
from api.auth import guard
from api.edge.handler import Handler
from api.errors import AddressTaken, ApiError, SettingsWrong
from api.http.flask_app import telemetry
from api.http.server.http_server import HttpServer
from api.process import services, siblings
from api.process.siblings import Siblings
from api.settings import ApiSettings, load
from registry.database import default_database
from registry.errors import RegistryError
from workers.errors import WorkerError
from workers.platform import garbage, logs
from workers.platform.loops import event_loops
from workers.platform.process_title import set_title
from workers.platform.redis.start_check import refuse_wrong_redis
from workers.settings import load as worker_settings
from workers.tracing import spans

_log = logging.getLogger(__name__)
_TEXT = "[%(asctime)s: %(levelname)s/api] %(message)s"

#: Connections that wait to be accepted when many clients connect at once.
_BACKLOG = 1_024
#: An idle connection costs a socket; clients keep it for a while.
_IDLE_CONNECTION_MS = 75_000
#: How long a client may be silent in the middle of a body.
_SILENT_BODY_S = 30
#: The most requests that wait for a thread, as a multiple of the threads. More get a 503, so that no client waits long.
_WAITING_PER_THREAD = 4
#: Connections besides those of held requests and streams: of short requests, and idle ones.
_CONNECTIONS_IN_RESERVE = 5_000
#: Open files besides those of connections: the program's own, and what libraries hold.
_FILES_IN_RESERVE = 256
#: How long the answers of requests that are under way may take after the signal to end.
_LAST_ANSWERS_S = 5
_SIBLINGS_LOOK_S = 0.5


class Server:
    """Has an address, and listens there once `run` is called.

    Raises:
        AddressTaken: it can't listen where the settings say.
        SettingsWrong: there can't be as many processes as they say.
    """

    def __init__(self, settings: ApiSettings, *, is_first: bool = True) -> None:
        self._host, self._port = _address(settings, is_free=is_first)
        self._siblings = _siblings(settings, self._port) if is_first else None
        app = create_app(settings)
        self._services = services.of(app)
        self._loop = event_loops.factory(worker_settings().event_loop)()
        self._is_ending = False
        metrics = telemetry.counters_of(app)
        held = settings.max_held_waits + settings.max_event_streams
        self._listener = HttpServer(
            app,
            Handler(app),
            threads=settings.request_threads,
            waiting=_WAITING_PER_THREAD * settings.request_threads,
            connections=_room_for_connections(held + _CONNECTIONS_IN_RESERVE),
            backlog=_BACKLOG,
            idle_ms=_IDLE_CONNECTION_MS,
            silence_s=_SILENT_BODY_S,
            refused=lambda request, status: telemetry.end(request, status, metrics, is_logged=settings.access_log),
        )

    def run(self) -> None:
        """Answer requests; returns after `end`, once nothing is being answered any more.

        On the main thread. The event loop stays open: what is given up may still use it.
        """
        asyncio.set_event_loop(self._loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.end)
        serving = self._loop.create_task(self._serve())
        serving.add_done_callback(lambda _: self._loop.stop())
        self._loop.run_forever()
        if self._siblings is not None:
            self._siblings.wait(_LAST_ANSWERS_S)
        if serving.done():
            serving.result()

    async def _serve(self) -> None:
        self._services.jobs.attach()
        await self._listener.serve(self._host, self._port, self._say_where)

    def end(self) -> None:
        """Take no new connections, answer held polls with their jobs as they stand, and let `run` return.

        On the event loop. The second time, what is still being answered is given up.
        """
        if self._siblings is not None:
            self._siblings.end()
        if self._is_ending:
            self._loop.stop()
            return
        self._is_ending = True
        self._services.release_waits()
        self._listener.stop()
        self._loop.call_later(_LAST_ANSWERS_S, self._loop.stop)

    def _say_where(self) -> None:
        how = f"Granian {version('granian')}, {event_loops.name_of(self._loop)}"
        _log.info("The HTTP API listens on http://%s:%d (%s)", self._host, self._port, how)
        self._look_after(self._siblings)

    def _look_after(self, others: Siblings | None) -> None:
        if others is None or self._is_ending:
            return
        self._loop.call_later(_SIBLINGS_LOOK_S, self._look_after, others)
        try:
            others.look()
        except OSError as error:  # no memory or no process for it at the moment
            _log.warning("can't look after the other API processes (%s); trying again", error)


def _siblings(settings: ApiSettings, port: int) -> Siblings | None:
    count = settings.api_processes - 1
    if count and settings.prometheus_multiproc_dir is None:
        raise SettingsWrong(
            f"QUEUECAST_API_PROCESSES={settings.api_processes} needs PROMETHEUS_MULTIPROC_DIR, an empty folder in "
            "which they add up their HTTP counters: else /metrics would answer with those of one or the other."
        )
    return Siblings(count, {"QUEUECAST_PORT": str(port)}) if count else None


def _address(settings: ApiSettings, *, is_free: bool) -> tuple[str, int]:
    """Return an address as numbers. Granian's sockets share ports, so whether it `is_free` is found out here."""
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        if not is_free:
            return str(address[0]), int(address[1])
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


def _room_for_connections(wanted: int) -> int:
    """Ask the system for enough open files; return how many connections there is room for."""
    files = wanted + _FILES_IN_RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= files:
        return wanted
    room = max(16, soft - _FILES_IN_RESERVE)
    _log.warning("The system allows %d open files: only %d connections are taken at once", soft, room)
    return room


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    logging.basicConfig(format=_TEXT, level=logging.INFO)
    try:
        # Wrong settings are reported now and not at the first request.
        logs.set_form(worker_settings().log_format, "api", _TEXT)
        default_database()
        guard.check_start(load(), default_database())
        refuse_wrong_redis()
        server = Server(load(), is_first=not siblings.be_one(sys.argv))
        set_title(f"web {load().host}:{load().port}")
        garbage.collect_less()
        server.run()
    except (ApiError, RegistryError, WorkerError) as error:
        _log.error("%s", error)
        return 1
    spans.stop()
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Not through Python's own exit: threads may still be answering requests that were given up.
    os._exit(status)
