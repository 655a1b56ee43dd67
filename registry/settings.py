"""The settings of the database, the artifact store and model hosts, read from the environment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from registry.errors import SettingsWrong
from registry.wrong_values import wrong_values


def _sqlite_url(data: dict[str, Any]) -> str:
    return URL.create("sqlite", database=str(data["data_dir"] / "registry.db")).render_as_string(hide_password=False)


class RegistrySettings(BaseSettings):
    """Settings of the registry: `DATABASE_URL`, and `QUEUECAST_<NAME>` for all others."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", env_ignore_empty=True, extra="ignore")

    #: The folder of all data of an embedded service.
    data_dir: Path = Path("data")
    #: SQLite below `data_dir` by default, or PostgreSQL.
    database_url: str = Field(default_factory=_sqlite_url, validation_alias="DATABASE_URL")
    #: A folder, or any URL that fsspec supports.
    artifacts_url: str = Field(default_factory=lambda data: str(data["data_dir"] / "artifacts"))
    #: The folder of the workers' verified copies of artifacts.
    artifact_cache_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "artifact-cache")
    #: The most bytes of these copies and their unpacked files; copies in use are never deleted.
    artifact_cache_max_bytes: int = Field(default=20 * 1024**3, ge=1)

    #: Whether versions may have environments of their own. Installing packages runs code: it is the admin's right.
    environments: Literal["on", "off"] = "off"
    #: Where the packages of environments come from: a folder of wheels, or the URL of an index; by default PyPI.
    wheels: str = ""
    #: The folder of the workers' environments.
    environment_cache_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "environments")
    #: The most bytes of these environments; those in use are never deleted.
    environment_cache_max_bytes: int = Field(default=20 * 1024**3, ge=1)
    #: Time limit of each step of building an environment.
    environment_timeout_s: float = Field(default=1_800.0, gt=0)

    #: Time limit of loading a model and predicting its example, at registration and in workers.
    load_timeout_s: float = Field(default=300.0, gt=0)

    @field_validator("data_dir", "artifact_cache_dir", "environment_cache_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Absolute, so that it stays the same if a process changes its working directory.
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{value} contains an unknown user") from error


@lru_cache(maxsize=1)
def load() -> RegistrySettings:
    """Read the environment once.

    Raises:
        SettingsWrong: a variable has an invalid value; the message names it.
    """
    try:
        return RegistrySettings()
    except ValidationError as error:
        first = wrong_values(error)[0]
        name = str(first.location[0])
        variable = name if name.isupper() else "QUEUECAST_" + name.upper()
        raise SettingsWrong(f"{variable}: {first.problem}") from error
