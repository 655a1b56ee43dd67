"""The serving settings of a deployment: batch size, delay, hosts and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from registry.errors import SettingsInvalid
from registry.serving.rollout_plan import FollowedRollout
from registry.wrong_values import wrong_values

EventsSetting = Literal["full", "sampled", "off"]

LARGEST_BATCH = 4096
#: The most rows of different jobs in a batch if `max_batch_size` is not set.
DEFAULT_BATCH = 64
#: The default with `auto`: people perceive an answer within 0.1 s as immediate.
_DEFAULT_TARGET_MS = 100.0


def _single_message(value: Any, checked: ValidatorFunctionWrapHandler) -> Any:
    """Raise one error message for all alternatives of the batch size."""
    try:
        return checked(value)
    except ValidationError as error:
        text = f'should be a whole number from 1 to {LARGEST_BATCH}, or "auto"'
        raise PydanticCustomError("batch_size", text) from error


_BatchSize = Annotated[
    Annotated[int, Field(ge=1, le=LARGEST_BATCH)] | Literal["auto"] | None,
    WrapValidator(_single_message),
]

MOST_HOSTS = 64
LEAST_GPU_SHARE = 0.01
#: The setting of a deployment's row that holds a range of hosts. `hosts` is a number there, since earlier releases read
#: nothing else.
_ROW_RANGE = "hosts_range"
#: Defaults of `idle_s` and `target_wait_s`, which have an effect with a range of hosts alone.
_DEFAULT_IDLE_S = 300.0
_DEFAULT_TARGET_WAIT_S = 1.0
_RANGE_TEXT = re.compile(r"(\d{1,3})-(\d{1,3})")


class HostsRange(BaseModel):
    """Between how many model hosts a worker has for a deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    min: int = Field(ge=0, le=MOST_HOSTS, description="Hosts of an idle deployment; 0 lets it sleep.")
    max: int = Field(ge=1, le=MOST_HOSTS, description="Most hosts while jobs wait too long.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min > self.max:
            raise ValueError("min must not be above max")
        return self


def hosts_range(text: str) -> dict[str, int] | None:
    """Return the setting `hosts` that a person writes as `0-4`; None if the text is no range."""
    found = _RANGE_TEXT.fullmatch(text.strip())
    return {"min": int(found[1]), "max": int(found[2])} if found else None


def _single_hosts_message(value: Any, checked: ValidatorFunctionWrapHandler) -> Any:
    """Raise one error message for a number of hosts and a range of hosts."""
    try:
        return checked(value)
    except ValidationError as error:
        text = (
            f'should be a whole number from 1 to {MOST_HOSTS}, or a range such as {{"min": 0, "max": 4}}, '
            f"with min from 0 and max up to {MOST_HOSTS}"
        )
        raise PydanticCustomError("hosts", text) from error


_Hosts = Annotated[
    Annotated[int, Field(ge=1, le=MOST_HOSTS)] | HostsRange,
    WrapValidator(_single_hosts_message),
]

#: Names of members, numbers of elements, and `*` for all elements of a list, with dots in between.
FieldPath = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^.]+(\.[^.]+)*$")]


#: Settings without effect beside a fixed number of hosts.
_OF_RANGES = ("idle_s", "target_wait_s")


def _with_range(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values with its range in the place of the number of hosts.

    If a release without ranges has changed the number, the number counts.
    """
    found = dict(values)
    stored = found.pop(_ROW_RANGE, None)
    if isinstance(stored, Mapping) and stored.get("hosts") == found.get("hosts"):
        found["hosts"] = {name: stored.get(name) for name in ("min", "max")}
    elif stored is not None:
        found = {name: value for name, value in found.items() if name not in _OF_RANGES}
    return found


class ServingSettings(BaseModel):
    """The settings of one deployment; every one has a default and bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: A number also splits a job with more rows, for models that can't take them together.
    max_batch_size: _BatchSize = Field(
        default=None,
        description="Most rows of one call of the model; `auto` adapts them to the measured latency. "
        f"Default: {DEFAULT_BATCH} rows of different jobs, or all rows of one job.",
    )
    target_latency_ms: float | None = Field(
        default=None,
        ge=1,
        le=600_000,
        allow_inf_nan=False,
        description="With `auto`: target for waiting for a host plus the prediction, in ms; 100 by default.",
    )
    max_batch_delay_ms: float = Field(
        default=2.0, ge=0, le=10_000, allow_inf_nan=False, description="Longest time to collect a batch, in ms."
    )
    hosts: _Hosts = Field(
        default=1,
        description="Model hosts in each worker: a number, or a range: more while jobs wait too long, and with `min` 0 "
        "none while the deployment is idle.",
    )
    idle_s: float | None = Field(
        default=None,
        gt=0,
        le=2_592_000,
        allow_inf_nan=False,
        description=f"With a range of hosts: after how many idle seconds hosts end; {_DEFAULT_IDLE_S:g} by default.",
    )
    target_wait_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="With a range of hosts: hosts are added while the estimated wait of a job is longer, in s; "
        f"{_DEFAULT_TARGET_WAIT_S:g} by default.",
    )
    timeout_s: float = Field(
        default=60.0, gt=0, le=86_400, allow_inf_nan=False, description="Time limit of a prediction, in s."
    )
    max_memory_mb: int | None = Field(
        default=None, ge=16, le=16_777_216, description="Memory limit of a model host, in MiB; no limit by default."
    )
    gpu: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of a GPU that each model host has: 1 is a whole one, 0.25 a quarter, 0 none. Hosts see no "
        "other GPU.",
    )
    max_attempts: int = Field(
        default=3, ge=1, le=20, description="How many times a job is tried after losing its host or worker."
    )
    max_queue_length: int = Field(
        default=100_000, ge=1, le=100_000_000, description="Most unfinished jobs; further jobs are refused with 429."
    )
    max_queue_bytes: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000_000_000,
        description="Most bytes of unfinished jobs; further jobs get 429. Default: an eighth of Redis's memory.",
    )
    expires_in_s: float | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Time after which jobs that have not begun expire, in s; no limit by default.",
    )
    result_ttl_s: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="How long outcomes are kept, in s; QUEUECAST_RESULT_TTL_S by default.",
    )
    keep_failed_inputs: bool = Field(
        default=True,
        description="Whether the inputs of failed jobs are kept for as long as their records, so that they can be run "
        "again; within QUEUECAST_FAILED_INPUTS_BYTES.",
    )
    callback_url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://[!-~]+$",
        description="URL for the webhooks of jobs without a callback_url of their own; none by default.",
    )
    journal: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the jobs whose inputs and outcomes the journal keeps, from 0 to 1.",
    )
    journal_retention_days: int = Field(
        default=30, ge=1, le=3_650, description="How many days the journal keeps a job."
    )
    journal_exclude: list[FieldPath] = Field(
        default=[],
        max_length=100,
        description="Fields of inputs that the journal replaces by a keyed hash, by path: `customer.email`, `*.iban`.",
    )
    rollout: FollowedRollout | None = Field(
        default=None,
        description="How a move of the alias that the endpoint follows is rolled out; `{}` has the defaults of a "
        "rollout. Without it the endpoint swaps at once.",
    )
    events: EventsSetting = Field(
        default="full",
        description="Jobs with Celery events: `full` is all, `sampled` is 1 in 100 and all failures, `off` is none.",
    )

    @field_validator("gpu")
    @classmethod
    def _is_a_share(cls, value: float) -> float:
        if 0 < value < LEAST_GPU_SHARE:
            raise PydanticCustomError("gpu", f"should be 0, or from {LEAST_GPU_SHARE} to 1")
        return value

    @property
    def batch_rows(self) -> int | Literal["auto"]:
        """The most rows of different jobs in a batch."""
        return DEFAULT_BATCH if self.max_batch_size is None else self.max_batch_size

    @property
    def latency_target_ms(self) -> float:
        """The latency target of batches with `auto`."""
        return _DEFAULT_TARGET_MS if self.target_latency_ms is None else self.target_latency_ms

    @property
    def least_hosts(self) -> int:
        """The hosts of an idle deployment."""
        return self.hosts.min if isinstance(self.hosts, HostsRange) else self.hosts

    @property
    def first_hosts(self) -> int:
        """The hosts with which a deployment begins to serve; also what releases without ranges start."""
        return max(1, self.least_hosts)

    @property
    def most_hosts(self) -> int:
        """The most hosts."""
        return self.hosts.max if isinstance(self.hosts, HostsRange) else self.hosts

    @property
    def has_range(self) -> bool:
        """Whether the number of hosts changes with the jobs that wait."""
        return isinstance(self.hosts, HostsRange)

    @property
    def may_sleep(self) -> bool:
        """Whether an idle deployment has no hosts."""
        return self.least_hosts == 0

    @property
    def idle_limit_s(self) -> float:
        """After how many idle seconds hosts end."""
        return _DEFAULT_IDLE_S if self.idle_s is None else self.idle_s

    @property
    def wait_target_s(self) -> float:
        """The estimated wait of a job up to which no host is added."""
        return _DEFAULT_TARGET_WAIT_S if self.target_wait_s is None else self.target_wait_s

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return settings from plain values, each checked alone; `complete` checks their combination.

        Raises:
            SettingsInvalid: a setting is unknown or out of bounds; the message names it.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = wrong_values(error)[0]
            raise SettingsInvalid(f"Setting {'.'.join(map(str, first.location))}: {first.problem}.") from error

    @classmethod
    def with_defaults(cls, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return these values with the default in the place of each None; what is not a setting stays."""
        return {
            name: cls.model_fields[name].default if value is None and name in cls.model_fields else value
            for name, value in named.items()
        }

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings of a deployment's row, which a newer release may have written.

        Unknown settings are ignored, and invalid values are replaced by the default.
        """
        values = _with_range(values)
        try:
            return cls.model_validate(dict(values), extra="ignore")
        except ValidationError as error:
            unread = {each.location[0] for each in wrong_values(error)}
            return cls.model_validate({name: values[name] for name in values.keys() - unread}, extra="ignore")

    def row(self) -> dict[str, Any]:
        """Return the values for a deployment's row; `stored` reads them, and so do releases without ranges of hosts."""
        values = self.model_dump()
        if isinstance(self.hosts, HostsRange):
            values["hosts"] = self.first_hosts
            values[_ROW_RANGE] = {**self.hosts.model_dump(), "hosts": self.first_hosts}
        else:
            values[_ROW_RANGE] = None
        return values

    def complete(self) -> Self:
        """Return these settings if their combination is valid.

        Raises:
            SettingsInvalid: a setting has no effect beside another, and the message names both; or a rollout can't be.
        """
        if self.target_latency_ms is not None and self.max_batch_size != "auto":
            raise SettingsInvalid(
                f"Setting target_latency_ms: it has no effect with max_batch_size {self.batch_rows}. "
                'Set max_batch_size to "auto", or omit target_latency_ms.'
            )
        for name in _OF_RANGES:
            if getattr(self, name) is not None and not isinstance(self.hosts, HostsRange):
                raise SettingsInvalid(
                    f"Setting {name}: it has no effect with hosts {self.hosts}. "
                    f'Set hosts to a range such as {{"min": 0, "max": 4}}, or omit {name}.'
                )
        if self.rollout is not None:
            self.rollout.plan.check()
            if self.rollout.since is not None and self.rollout.start is None:
                raise SettingsInvalid('Setting rollout: since has no effect without start. Set start to "evaluation".')
        return self

    def changed(self, named: Mapping[str, Any]) -> Self:
        """Return a copy with the given settings; a fixed batch size removes the latency target.

        A fixed number of hosts removes what only ranges have.

        Raises:
            SettingsInvalid: a setting is unknown, out of bounds, or has no effect; the message names it.
        """
        kept = self.model_dump()
        if named.get("max_batch_size", "auto") != "auto":
            kept["target_latency_ms"] = None
        if not isinstance(named.get("hosts", {}), (Mapping, HostsRange)):
            kept |= dict.fromkeys(_OF_RANGES)
        return self.parse({**kept, **named}).complete()
