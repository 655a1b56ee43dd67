"""The environment of the client, read in one place."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_URL = "http://127.0.0.1:8000"


class ClientSettings(BaseSettings):
    """Settings of the Python client; each is `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", env_ignore_empty=True, extra="ignore")

    #: Where the service answers; `DEFAULT_URL` unless said otherwise.
    url: str = ""
    #: What is shown to a service that asks for a key.
    api_key: SecretStr | None = None
