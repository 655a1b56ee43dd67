"""Ports for test servers."""

from __future__ import annotations

import random
import socket
from pathlib import Path

#: Lower ports are those that people give to services of their own.
_FIRST_PORT = 20_000
#: Linux's own default, used where the setting can't be read.
_FIRST_EPHEMERAL_PORT = 32_768
_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Not the shared generator: property-based tests seed it, the same in each process.
_random = random.SystemRandom()


def free_port() -> int:
    """Return a loopback port that no process listens on and that the system gives to no connection."""
    candidates = range(_FIRST_PORT, _first_ephemeral_port())
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _random.choice(candidates) if candidates else 0))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port


def refuses_connections(port: int) -> bool:
    """Say whether no process listens on *port* (any more).

    A listener that is being closed may reset a connection that waits to be accepted: it still listened then.
    """
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def _first_ephemeral_port() -> int:
    try:
        return int(_EPHEMERAL_PORTS.read_text().split()[0])
    except OSError:
        return _FIRST_EPHEMERAL_PORT
