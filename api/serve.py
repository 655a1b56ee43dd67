"""`python -m api.serve`: the HTTP API on Waitress, the server that the Procfile's `web` runs.

Every held long poll has a thread of its own, and there are more threads than polls may be held, so
that submits always find one (docs/decisions.md has the measurement).
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from importlib.metadata import version
from typing import Any

from waitress.server import create_server

from api.app import create_app
from api.errors import AddressTaken, ApiError
from api.settings import ApiSettings, load
from registry.errors import RegistryError
from workers import waiting
from workers.errors import WorkerError

_log = logging.getLogger(__name__)

#: Connections that are waiting to be accepted, of clients that come all at once.
_BACKLOG = 1_024
#: Idle connections cost a socket each; clients keep them for a while.
_IDLE_CONNECTION_S = 75
#: How long the answers of requests that are under way may take when the server is told to end.
_LAST_ANSWERS_S = 5.0
_LOOK_S = 0.05


def listening(settings: ApiSettings) -> Any:
    """Return a server that listens, and answers once its `run` is called.

    Raises:
        AddressTaken: it can't listen where the settings say.
        SettingsWrong: an environment variable has a value that can't be used.
    """
    threads = settings.max_held_waits + settings.request_threads
    try:
        return create_server(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            threads=threads,
            backlog=_BACKLOG,
            connection_limit=2 * threads,
            channel_timeout=_IDLE_CONNECTION_S,
            max_request_body_size=settings.max_artifact_bytes + 2 * settings.max_body_bytes,
            asyncore_use_poll=True,
            ident="queuecast",
        )
    except OSError as error:
        raise AddressTaken(
            f"The HTTP API can't listen on {settings.host}:{settings.port} ({error.strerror}): another program "
            "may have the port. QUEUECAST_PORT and QUEUECAST_HOST choose another."
        ) from error


class _Ending:
    """What a signal begins: answer what is held, and end once nothing is being answered any more."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._ends_at: float | None = None

    def __call__(self, _number: int, _frame: object) -> None:
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + _LAST_ANSWERS_S
            # Held polls answer now, with their jobs as they stand.
            waiting.default_waiter().release()
        elif not self._server.task_dispatcher.active_count or now >= self._ends_at:
            raise SystemExit(0)
        # Waitress sends answers from the loop that this has interrupted: let it go on for a moment.
        signal.setitimer(signal.ITIMER_REAL, _LOOK_S)


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    logging.basicConfig(format="[%(asctime)s: %(levelname)s/api] %(message)s", level=logging.INFO)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        settings = load()
        server = listening(settings)
    except (ApiError, RegistryError, WorkerError) as error:
        _log.error("%s", error)
        return 1
    ending = _Ending(server)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, ending)
    _log.info("The HTTP API listens on http://%s:%d (Waitress %s)", settings.host, settings.port, version("waitress"))
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
