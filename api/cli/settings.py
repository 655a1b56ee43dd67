"""The environment of the command line, read in one place."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.cli.errors import StartFailed


class CliSettings(BaseSettings):
    """Settings of the `queuecast` command; each is `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", extra="ignore")

    #: Where the service answers; loopback at `port` unless said otherwise.
    url: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    flower_port: int = Field(default=5555, ge=1, le=65_535)
    #: Where `queuecast run` starts its own Redis, unless `redis_url` names one that runs.
    redis_port: int = Field(default=6390, ge=1, le=65_535)
    redis_url: str = ""
    data_dir: Path = Path("data")

    @property
    def service_url(self) -> str:
        """The URL that commands call."""
        return self.url or f"http://127.0.0.1:{self.port}"


@lru_cache(maxsize=1)
def load() -> CliSettings:
    """Read the environment once.

    Raises:
        StartFailed: a variable has a wrong value; the message names it.
    """
    try:
        return CliSettings()
    except ValidationError as error:
        first = error.errors()[0]
        raise StartFailed(f"QUEUECAST_{str(first['loc'][0]).upper()}={first['input']!r}: {first['msg']}") from error
