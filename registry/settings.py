"""The environment of this package, read in one place."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from registry.errors import SettingsWrong


def _sqlite_url(data: dict[str, Any]) -> str:
    return URL.create("sqlite", database=str(data["data_dir"] / "registry.db")).render_as_string(hide_password=False)


class RegistrySettings(BaseSettings):
    """Where the registry keeps things; `DATABASE_URL`, and otherwise `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", env_ignore_empty=True, extra="ignore")

    #: What an embedded service keeps stands below this folder.
    data_dir: Path = Path("data")
    #: SQLite below `data_dir` by default, or PostgreSQL.
    database_url: str = Field(default_factory=_sqlite_url, validation_alias="DATABASE_URL")
    #: A folder, or any URL that fsspec knows.
    artifacts_url: str = Field(default_factory=lambda data: str(data["data_dir"] / "artifacts"))
    #: Where workers keep verified copies of artifacts.
    artifact_cache_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "artifact-cache")

    @field_validator("data_dir", "artifact_cache_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Processes that change their working directory still mean the same place.
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{value} names a user who isn't known here") from error


@lru_cache(maxsize=1)
def load() -> RegistrySettings:
    """Read the environment once.

    Raises:
        SettingsWrong: a variable has a wrong value; the message names it.
    """
    try:
        return RegistrySettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else "QUEUECAST_" + name.upper()
        raise SettingsWrong(f"{variable}: {first['msg']}") from error
