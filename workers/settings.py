"""The settings of queues, job records and workers; those of webhooks are in `workers.webhooks.settings`.

The API and the registry have classes of their own. Where two classes have the same field, both read the same variable.
"""

from __future__ import annotations

import os
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from registry.wrong_values import wrong_values
from workers import sentinel_url
from workers.errors import SettingsWrong

Settings = TypeVar("Settings", bound=BaseSettings)

DAY_S = 86_400
_SHORTEST_KEY = 32
_AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")
_REDIS_SCHEMES = ("redis", "rediss", "unix")


class WorkerSettings(BaseSettings):
    """Settings of queues, job records and workers; each is `QUEUECAST_<NAME>`."""

    # A traceback has pydantic's own error too, which would repeat a wrong secret.
    model_config = SettingsConfigDict(env_prefix="QUEUECAST_", extra="ignore", hide_input_in_errors=True)

    #: Where records are: redis://…, rediss://…, unix://…, or sentinel://… (`workers.sentinel_url`).
    redis_url: str = "redis://127.0.0.1:6390/0"
    #: Where jobs are queued; the same Redis unless said otherwise. amqp://… is RabbitMQ.
    broker_url: str = ""
    #: How many replicas must have a job before it is accepted; 0 doesn't wait for any.
    redis_replicas: int = Field(default=0, ge=0, le=100)
    #: How long that may take (ms), until the submit's answer is that the job may be stored or not.
    redis_replicas_timeout_ms: int = Field(default=1_000, ge=1, le=1_500)
    #: RabbitMQ's management plugin, with user and password: it tells which queues there are.
    rabbitmq_management_url: SecretStr = SecretStr("")
    worker_group: str = "default"
    #: How long the record of a finished job is kept.
    result_ttl_s: int = Field(default=DAY_S, ge=1)
    #: How long the record of a job that has not finished is kept.
    unfinished_ttl_s: int = Field(default=30 * DAY_S, ge=60)
    #: Most bytes of the kept inputs of failed jobs; an endpoint may have a quarter of them.
    failed_inputs_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    #: Most bytes of ended jobs that wait in Redis to be moved to the journal's files; more are left out and counted.
    journal_stream_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    #: Ended jobs are moved to the journal's files after this time, or earlier if they are many.
    journal_interval_s: float = Field(default=10.0, ge=0.1, le=3_600)
    #: The key of the hashes in the place of the fields that `journal_exclude` names; without one they become null.
    journal_hash_key: SecretStr = SecretStr("")
    #: How many jobs of each endpoint `GET /jobs` remembers.
    recent_jobs: int = Field(default=1_000, ge=1, le=100_000)
    #: Most unfinished jobs of high priority that an API key may have at an endpoint.
    max_high_jobs: int = Field(default=100, ge=0, le=1_000_000)
    #: A worker holds its jobs under a lease of this length and renews it while it lives.
    lease_s: float = Field(default=20.0, ge=2, le=3_600)
    #: How often lost and expired jobs are looked for.
    sweep_interval_s: float = Field(default=10.0, ge=0.1, le=3_600)
    #: How often desired and observed are compared even without a nudge.
    reconcile_interval_s: float = Field(default=3.0, gt=0, le=60)
    #: How long jobs wait for an endpoint that doesn't exist before they fail; 0 is for ever.
    unknown_endpoint_s: float = Field(default=60.0, ge=0, le=30 * DAY_S, allow_inf_nan=False)
    #: On RabbitMQ: how long the queues of an undeployed endpoint are kept.
    unused_queue_ttl_s: int = Field(default=DAY_S, ge=0)
    #: How long a stopping worker lets running predictions finish.
    shutdown_grace_s: float = Field(default=10.0, ge=0, le=600)
    #: How long a model may take to load and to predict its example once.
    load_timeout_s: float = Field(default=300.0, gt=0)
    #: Threads that numerical libraries may use in each model host.
    host_threads: int = Field(default=1, ge=1, le=256)
    #: The memory that the model hosts of a worker may use together (MiB); by default 80 % of the machine's, or of the
    #: cgroup's. 0 is no limit.
    worker_memory_mb: int | None = Field(default=None, ge=0)
    #: The GPUs of a worker's hosts: ids with commas, or `none`; by default those that nvidia-smi shows.
    gpus: str = Field(default="", max_length=1_000, pattern=r"^[A-Za-z0-9,:/_ -]*$")
    #: The longest body of a request, and the longest that a compressed message may unpack to.
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1_024)
    #: Where a worker's /metrics is, or on one of the next ports that is free; 0 is nowhere.
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    #: The address that it listens on.
    metrics_host: str = "127.0.0.1"
    #: What the event loops of workers and of the API are; `auto`: uvloop where it is installed.
    event_loop: Literal["asyncio", "uvloop"] = "asyncio"
    #: What log lines look like.
    log_format: Literal["text", "json"] = "text"
    #: OpenTelemetry's own variables: where traces go. It reads all others of its variables by itself.
    otel_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otel_traces_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    #: Signs task messages, so that workers take no others; several, with commas: the first signs, all are taken.
    message_key: SecretStr = SecretStr("")
    #: Whose successors workers publish: all that messages name, or those of jobs that this package has submitted alone.
    canvas: Literal["on", "accepted"] = "on"
    #: The queue to which workers send tasks of other programs that follow a job, if their signature names none.
    successor_queue: str = Field(default="celery", min_length=1)
    #: To which queues workers send such tasks at all: patterns with `*`, several with commas.
    successor_queues: str = "*"
    #: Where Flower listens; on another address than loopback it needs a password.
    flower_host: str = "127.0.0.1"
    flower_port: int = Field(default=5555, ge=1, le=65_535)
    flower_password: SecretStr = SecretStr("")
    #: Whether Flower only looks.
    flower_read_only: bool = True

    @field_validator("event_loop")
    @classmethod
    def _is_installed(cls, value: str) -> str:
        if value == "uvloop" and find_spec(value) is None:
            raise ValueError("needs uvloop, which isn't installed: pip install 'queuecast[uvloop]'")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if sentinel_url.is_sentinel(value):
            sentinel_url.parse(value)
            return value
        parts = urlsplit(value)
        if parts.scheme not in _REDIS_SCHEMES:
            raise ValueError("a URL such as redis://127.0.0.1:6379/0 is needed")
        sentinel_url.port_of(parts)  # raises if it is no number
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_broker(cls, value: str) -> str:
        if sentinel_url.is_sentinel(value):
            sentinel_url.parse(value)
        return value

    @field_validator("message_key", "journal_hash_key")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        if any(len(each) < _SHORTEST_KEY for each in _split(value)):
            raise ValueError(f"at least {_SHORTEST_KEY} characters are needed: openssl rand -hex 32 makes some")
        return value

    @cached_property
    def message_keys(self) -> tuple[str, ...]:
        """The keys that messages may be signed with, the one that signs first; none if nothing is signed."""
        return _split(self.message_key)

    @cached_property
    def successor_queue_patterns(self) -> tuple[str, ...]:
        """The patterns of the queues to which tasks of other programs may be sent after a job."""
        return tuple(each.strip() for each in self.successor_queues.split(",") if each.strip())

    @property
    def traces_wanted(self) -> bool:
        """Whether there is somebody to send traces to."""
        return bool(self.otel_endpoint or self.otel_traces_endpoint)

    @cached_property
    def queues_beside_records(self) -> bool:
        """Whether queues and records are in the same Redis, so that one step can change both."""
        return self.queue_url == self.redis_url

    @property
    def queue_url(self) -> str:
        """The broker's URL."""
        return self.broker_url or self.redis_url

    @property
    def broker_is_amqp(self) -> bool:
        """Whether the broker is RabbitMQ."""
        return self.queue_url.partition("://")[0] in _AMQP_SCHEMES


def _split(value: SecretStr) -> tuple[str, ...]:
    return tuple(each.strip() for each in value.get_secret_value().split(",") if each.strip())


@lru_cache(maxsize=1)
def load() -> WorkerSettings:
    """Read the environment once.

    Raises:
        SettingsWrong: a variable has a wrong value; the message names it.
    """
    return read_environment(WorkerSettings)


def read_environment(settings_class: type[Settings]) -> Settings:
    """Return the settings that the environment has.

    Raises:
        SettingsWrong: a variable has a wrong value; the message names it.
    """
    try:
        return settings_class()
    except ValidationError as error:
        first = wrong_values(error)[0]
        name = "QUEUECAST_" + str(first.location[0]).upper()
        # A secret is not repeated, nor a URL, which may hold one.
        given = name if name.endswith(("_URL", "_KEY", "_PASSWORD", "_SECRETS")) else f"{name}={os.environ.get(name)!r}"
        raise SettingsWrong(f"{given}: {first.problem}") from error
