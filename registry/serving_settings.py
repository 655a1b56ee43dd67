"""How a deployment is served: batch size, delay, hosts and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.errors import SettingsInvalid

EventsSetting = Literal["full", "sampled", "off"]


class ServingSettings(BaseModel):
    """The settings of one deployment; every one has a default and bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_batch_size: int = Field(default=64, ge=1, le=4096, description="Most rows that are predicted at once.")
    max_batch_delay_ms: float = Field(
        default=2.0, ge=0, le=10_000, allow_inf_nan=False, description="Longest time that a batch gathers, in ms."
    )
    hosts: int = Field(default=1, ge=1, le=64, description="Model hosts in each worker.")
    timeout_s: float = Field(
        default=60.0, gt=0, le=86_400, allow_inf_nan=False, description="Longest time that a prediction takes, in s."
    )
    max_memory_mb: int | None = Field(
        default=None, ge=16, le=16_777_216, description="Most memory of a model host, in MiB; no limit by default."
    )
    max_attempts: int = Field(
        default=3, ge=1, le=20, description="How often a job is tried whose host or worker is lost."
    )
    max_queue_length: int = Field(
        default=100_000, ge=1, le=100_000_000, description="Most unfinished jobs; more are refused with 429."
    )
    expires_in_s: float | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Jobs that have not begun after this time never run; no limit by default.",
    )
    result_ttl_s: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="How long outcomes are kept; QUEUECAST_RESULT_TTL_S by default.",
    )
    events: EventsSetting = Field(
        default="full",
        description="Which jobs Flower and `celery events` hear of: every one, one of 100 and all that fail, or none.",
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return settings from plain values.

        Raises:
            SettingsInvalid: one is unknown or out of its bounds; names it.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            raise SettingsInvalid(f"Setting {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error

    def changed(self, named: Mapping[str, Any]) -> Self:
        """Return a copy in which the named settings are replaced.

        Raises:
            SettingsInvalid: one is unknown or out of its bounds; names it.
        """
        return self.parse({**self.model_dump(), **named})
