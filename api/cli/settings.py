"""The environment of the command line, read in one place."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.cli.errors import StartFailed
from api.settings import AuthMode
from registry.wrong_values import wrong_values
from workers.platform.loopback import is_loopback

#: A server that listens on one of these answers on loopback too.
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - nothing is bound here


class CliSettings(BaseSettings):
    """Settings of the `queuecast` command; each is `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", env_ignore_empty=True, extra="ignore")

    #: Where the service answers; loopback at `port` unless said otherwise.
    url: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    auth: AuthMode = AuthMode.AUTO
    flower_port: int = Field(default=5555, ge=1, le=65_535)
    #: Where `queuecast run` starts its own Redis, unless `redis_url` names one that runs.
    redis_port: int = Field(default=6390, ge=1, le=65_535)
    redis_url: str = ""
    #: What commands show the service, where that asks for a key.
    api_key: SecretStr = SecretStr("")
    #: Where Flower listens, and the password of its user `queuecast`.
    flower_host: str = "127.0.0.1"
    flower_password: SecretStr = SecretStr("")
    data_dir: Path = Path("data")

    @property
    def service_url(self) -> str:
        """The URL that commands call."""
        return self.url or self.own_url

    @property
    def own_url(self) -> str:
        """Where the service that `queuecast run` starts answers on this machine."""
        return f"http://{_reached_here(self.host)}:{self.port}"

    @property
    def asks_for_keys(self) -> bool:
        """Whether an API with these settings asks for keys."""
        return self.auth.asks_for_keys(self.host)

    @property
    def answers_this_machine_alone(self) -> bool:
        """Whether only programs on this machine can call the API, without a proxy."""
        return self.auth is AuthMode.AUTO and is_loopback(self.host)

    @property
    def flower_url(self) -> str:
        """Where Flower answers on this machine."""
        return f"http://{_reached_here(self.flower_host)}:{self.flower_port}"

    @property
    def runs_own_redis(self) -> bool:
        """Whether `queuecast run` starts a Redis."""
        return not self.redis_url

    @property
    def own_redis_url(self) -> str:
        """The URL of the Redis that `queuecast run` starts."""
        return f"redis://127.0.0.1:{self.redis_port}/0"


def _reached_here(host: str) -> str:
    """Return how this machine reaches what listens on an address."""
    if host in _EVERY_ADDRESS:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@lru_cache(maxsize=1)
def load() -> CliSettings:
    """Read the environment once.

    Raises:
        StartFailed: a variable has a wrong value; the message names it.
    """
    try:
        return CliSettings()
    except ValidationError as error:
        first = wrong_values(error)[0]
        name = "QUEUECAST_" + str(first.location[0]).upper()
        raise StartFailed(f"{name}={os.environ.get(name)!r}: {first.problem}") from error


def child_environment(settings: CliSettings) -> dict[str, str]:
    """Return the environment of the processes that `queuecast run` starts: ours, made explicit."""
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": programs + os.pathsep + os.environ.get("PATH", os.defpath),
        "PYTHONUNBUFFERED": "1",
        "QUEUECAST_DATA_DIR": str(settings.data_dir.absolute()),
        "QUEUECAST_FLOWER_PORT": str(settings.flower_port),
        "QUEUECAST_HOST": settings.host,
        "QUEUECAST_PORT": str(settings.port),
        "QUEUECAST_REDIS_URL": settings.own_redis_url if settings.runs_own_redis else settings.redis_url,
    }
