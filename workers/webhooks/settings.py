"""The settings of webhooks: secrets, allowed hosts, retries and the log."""

from __future__ import annotations

from functools import cached_property, lru_cache

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from workers.settings import DAY_S, read_environment
from workers.webhooks.allowlist import Allowlist
from workers.webhooks.signing import secrets_of

_LONGEST_RETRY_S = 7 * DAY_S


class WebhookSettings(BaseSettings):
    """Settings of webhooks; each is `QUEUECAST_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", extra="ignore", hide_input_in_errors=True)

    #: Secrets that sign webhooks, newest first; each signs. Without a secret, no webhooks are sent.
    webhook_secrets: SecretStr = SecretStr("")
    #: Hosts that may receive webhooks: hooks.example.com *.example.org:8443 http://hooks.internal:8080, * for any host.
    webhook_hosts: str = ""
    #: Private networks that may receive webhooks: 10.1.0.0/16 fd00::/8.
    webhook_private_networks: str = ""
    #: Seconds to wait after each failed attempt; the delivery fails with the attempt after the last wait.
    webhook_retries_s: str = "5 300 1800 7200 18000 36000 50400"
    #: Time limit of an attempt.
    webhook_timeout_s: float = Field(default=15.0, ge=1, le=120)
    #: How long a finished delivery is kept in the log, and how many of them at most.
    webhook_log_ttl_s: int = Field(default=3 * DAY_S, ge=60)
    webhook_log_length: int = Field(default=10_000, ge=1, le=1_000_000)

    @field_validator("webhook_secrets")
    @classmethod
    def _are_secrets(cls, value: SecretStr) -> SecretStr:
        secrets_of(value.get_secret_value())
        return value

    @field_validator("webhook_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        Allowlist.read(value)
        return value

    @field_validator("webhook_private_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        Allowlist.read("", value)
        return value

    @field_validator("webhook_retries_s")
    @classmethod
    def _are_times(cls, value: str) -> str:
        if not all(0 < each <= _LONGEST_RETRY_S for each in _times(value)):
            raise ValueError(f"must be a list of seconds such as 5 300 1800, each at most {_LONGEST_RETRY_S}")
        return value

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The keys that sign webhooks; empty if webhooks are disabled."""
        return secrets_of(self.webhook_secrets.get_secret_value())

    @cached_property
    def allowlist(self) -> Allowlist:
        """The allow-list of receivers."""
        return Allowlist.read(self.webhook_hosts, self.webhook_private_networks)

    @cached_property
    def retries_s(self) -> tuple[float, ...]:
        """The waits after failed attempts (s)."""
        return _times(self.webhook_retries_s)


@lru_cache(maxsize=1)
def load() -> WebhookSettings:
    """Read the environment once.

    Raises:
        SettingsWrong: a variable has an invalid value; the message names it.
    """
    return read_environment(WebhookSettings)


def _times(text: str) -> tuple[float, ...]:
    return tuple(float(each) for each in text.replace(",", " ").split())
