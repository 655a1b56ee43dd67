"""The settings of the API process, read from the environment; others are those of `workers` and `registry`."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.errors import SettingsWrong
from registry.wrong_values import wrong_values
from workers.platform.loopback import is_loopback

MEBIBYTE = 1024 * 1024
#: A path without a slash at its end; nothing is the root.
ROOT_PATH = r"(/[A-Za-z0-9._~-]+)*"


class AuthMode(StrEnum):
    """Whether requests need an API key."""

    #: Yes, unless the API listens on loopback.
    AUTO = "auto"
    #: Yes; also behind a proxy on this machine.
    ON = "on"
    #: No; on loopback only.
    OFF = "off"

    def asks_for_keys(self, host: str) -> bool:
        """Whether an API that listens on this address needs a key in each request."""
        return self is AuthMode.ON or (self is AuthMode.AUTO and not is_loopback(host))


def _listed(origins: str) -> list[str]:
    return [each.strip() for each in origins.split(",") if each.strip()]


class ApiSettings(BaseSettings):
    """Settings of the HTTP API; each is `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", extra="ignore")

    #: Loopback unless said otherwise; on another address every request needs an API key.
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    #: The longest body of every request but a registration.
    max_body_bytes: int = Field(default=16 * MEBIBYTE, ge=1_024)
    #: The largest artifact that can be registered over HTTP.
    max_artifact_bytes: int = Field(default=1024 * MEBIBYTE, ge=1_024)
    #: How many requests may be held in a wait at once; others are answered as if they hadn't asked to wait.
    max_held_waits: int = Field(default=10_000, ge=0, le=100_000)
    #: How many streams of events may be open at once; more are refused.
    max_event_streams: int = Field(default=5_000, ge=0, le=100_000)
    #: How long a stream of events lives; its client connects again by itself.
    event_stream_s: float = Field(default=600.0, gt=0, le=86_400)
    #: How often a stream shows that it lives, and learns whether its client does.
    event_heartbeat_s: float = Field(default=15.0, gt=0, le=3_600)
    #: Other sites whose pages may read events, with commas in between, e.g. `https://shop.example`.
    event_origins: str = ""
    #: Other sites whose pages may call the API, with commas in between; the console is for none.
    cors_origins: str = ""
    #: The path under which a reverse proxy shows the service, e.g. `/ml`.
    root_path: str = Field(default="", pattern=f"^{ROOT_PATH}$")
    #: Proxies whose `X-Forwarded-Prefix`, `-Proto`, `-Host` and `-For` count: addresses or networks, with commas in
    #: between, e.g. `10.1.0.0/16`.
    trusted_proxies: str = ""
    #: Threads for the requests that don't wait.
    request_threads: int = Field(default=32, ge=1, le=1_000)
    #: How many processes answer on the port; each has as many threads, held waits and streams as said here.
    api_processes: int = Field(default=1, ge=1, le=64)
    #: The longest wait of `Prefer: wait=N` and `?wait=N`; longer ones are cut to it.
    max_wait_s: float = Field(default=60.0, ge=0, le=3_600)
    #: How long the API may use a deployment that it has read without asking the registry again.
    deployment_cache_s: float = Field(default=0.5, ge=0, le=60)
    #: Whether each request is a line in the log.
    access_log: bool = False
    #: The variable of Prometheus's library: the folder in which API processes of one machine add up their counts.
    prometheus_multiproc_dir: Path | None = Field(default=None, validation_alias="PROMETHEUS_MULTIPROC_DIR")
    #: Whether requests need an API key; `auto`: unless the API listens on loopback.
    auth: AuthMode = AuthMode.AUTO
    #: How long a revoked key may still be taken.
    api_key_cache_s: float = Field(default=1.0, ge=0, le=60)
    #: Where people's browsers find Flower; by default on the host of the console's own address, at Flower's port.
    flower_url: str = Field(default="", pattern=r"^(https?://\S+)?$")

    @field_validator("event_origins", "cors_origins")
    @classmethod
    def _only_origins(cls, value: str) -> str:
        for each in _listed(value):
            parts = urlsplit(each)
            if parts.scheme not in ("http", "https") or each != f"{parts.scheme}://{parts.netloc}" or "*" in each:
                raise ValueError(f"{each!r} is no origin as browsers send it, such as https://shop.example:8443")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _only_networks(cls, value: str) -> str:
        for each in _listed(value):
            ip_network(each)
        return value

    def lets_call(self, origin: str) -> bool:
        """Whether pages of this other site may call the API."""
        return origin in _listed(self.cors_origins)

    @property
    def networks_of_proxies(self) -> list[IPv4Network | IPv6Network]:
        """The networks of `trusted_proxies`."""
        return list(map(ip_network, _listed(self.trusted_proxies)))

    def lets_read_events(self, origin: str) -> bool:
        """Whether pages of this other site may read events."""
        return origin in _listed(self.event_origins)

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.auth.asks_for_keys(self.host)


@lru_cache(maxsize=1)
def load() -> ApiSettings:
    """Read the environment once.

    Raises:
        SettingsWrong: a variable has a wrong value; the message names it.
    """
    try:
        return ApiSettings()
    except ValidationError as error:
        first = wrong_values(error)[0]
        name = "QUEUECAST_" + str(first.location[0]).upper()
        raise SettingsWrong(f"{name}={os.environ.get(name)!r}: {first.problem}") from error
