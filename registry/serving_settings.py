"""How a deployment is served: batch size, delay, hosts and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from registry.errors import SettingsInvalid

EventsSetting = Literal["full", "sampled", "off"]

LARGEST_BATCH = 4096
#: With `auto` and no target of its own: people take an answer within 0.1 s for an immediate one.
_DEFAULT_TARGET_MS = 100.0


def _one_message(value: Any, checked: ValidatorFunctionWrapHandler) -> Any:
    """Say in one sentence what a batch size can be, not in one for each alternative."""
    try:
        return checked(value)
    except ValidationError as error:
        text = f'Input should be a whole number from 1 to {LARGEST_BATCH}, or "auto"'
        raise PydanticCustomError("batch_size", text) from error


_BatchSize = Annotated[
    Annotated[int, Field(ge=1, le=LARGEST_BATCH)] | Literal["auto"],
    WrapValidator(_one_message),
]


class ServingSettings(BaseModel):
    """The settings of one deployment; every one has a default and bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_batch_size: _BatchSize = Field(
        default=64, description="Most rows that are predicted at once; `auto` follows the measured predict time."
    )
    target_latency_ms: float | None = Field(
        default=None,
        ge=1,
        le=600_000,
        allow_inf_nan=False,
        description="With `auto`: longest time that a job is to wait for a host and be predicted; 100 ms by default.",
    )
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
    callback_url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://[!-~]+$",
        description="Where the end of each job is told that has no callback_url of its own; nowhere by default.",
    )
    events: EventsSetting = Field(
        default="full",
        description="Which jobs Flower and `celery events` hear of: every one, one of 100 and all that fail, or none.",
    )

    @property
    def latency_target_ms(self) -> float:
        """The target that batches are sized for under `auto`."""
        return _DEFAULT_TARGET_MS if self.target_latency_ms is None else self.target_latency_ms

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return settings from plain values, each checked alone; `complete` checks whether they go together.

        Raises:
            SettingsInvalid: one is unknown or out of its bounds; names it.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            raise SettingsInvalid(f"Setting {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """Return settings as a deployment's row has them, which a newer release may have written.

        What this release doesn't know is left out; a value that it can't read is the default's.
        """
        try:
            return cls.model_validate(dict(values), extra="ignore")
        except ValidationError as error:
            unread = {each["loc"][0] for each in error.errors()}
            return cls.model_validate({name: values[name] for name in values.keys() - unread}, extra="ignore")

    def complete(self) -> Self:
        """Return these settings if they go together.

        Raises:
            SettingsInvalid: one is of no use beside the others; names both.
        """
        if self.target_latency_ms is not None and self.max_batch_size != "auto":
            raise SettingsInvalid(
                f"Setting target_latency_ms: it has no effect with max_batch_size {self.max_batch_size}. "
                'Set max_batch_size to "auto", or leave target_latency_ms out.'
            )
        return self

    def changed(self, named: Mapping[str, Any]) -> Self:
        """Return a copy in which the named settings are replaced; a batch size that is fixed ends the target.

        Raises:
            SettingsInvalid: one is unknown, out of its bounds, or of no use beside the others; names it.
        """
        kept = self.model_dump()
        if named.get("max_batch_size", "auto") != "auto":
            kept["target_latency_ms"] = None
        return self.parse({**kept, **named}).complete()
