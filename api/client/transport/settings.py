"""The environment of the client, read in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

from api.client.errors import SettingsWrong

_HIGHEST_PORT = 65_535


@dataclass(frozen=True)
class ClientSettings:
    """Settings of the Python client; each is `QUEUECAST_<NAME>`, where an empty one counts as absent."""

    #: Where the service answers; loopback at `port` unless said otherwise.
    url: str = ""
    port: str = "8000"
    #: What is shown to a service that asks for a key.
    api_key: str = field(default="", repr=False)

    @property
    def service_url(self) -> str:
        """The URL that is called. Raises SettingsWrong for a port that is none, if it matters."""
        return self.url or f"http://127.0.0.1:{_checked(self.port)}"


def load() -> ClientSettings:
    """Read the environment."""
    given = {each.name: os.environ.get(f"QUEUECAST_{each.name.upper()}") for each in fields(ClientSettings)}
    return ClientSettings(**{name: value for name, value in given.items() if value})


def _checked(port: str) -> int:
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not 1 <= number <= _HIGHEST_PORT:
        raise SettingsWrong(f"QUEUECAST_PORT={port!r} is not a port; a port is a number from 1 to {_HIGHEST_PORT}.")
    return number
