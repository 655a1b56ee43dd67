"""The environment of the client, read in one place."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClientSettings(BaseSettings):
    """Settings of the Python client; each is `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", env_ignore_empty=True, extra="ignore")

    #: Where the service answers; loopback at `port` unless said otherwise.
    url: str = ""
    port: int = Field(default=8000, ge=1, le=65_535)
    #: What is shown to a service that asks for a key.
    api_key: SecretStr | None = None

    @property
    def service_url(self) -> str:
        """The URL that is called."""
        return self.url or f"http://127.0.0.1:{self.port}"
