"""How a rollout goes: its steps and its rules, as a request or a deployment's setting names them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from registry.errors import SettingsInvalid

DEFAULT_STEPS = (1.0, 10.0, 50.0, 100.0)
DEFAULT_MIN_JOBS = 200
DEFAULT_STEP_S = 600.0
MAX_STEPS = 20
MAX_STEP_S = 30 * 86_400
#: Where a job runs again that fails on the candidate: on the version that serves, or nowhere.
ON_FAILURE = ("stable", "fail")


@dataclass(frozen=True)
class Rules:
    """The most by which a candidate may differ; None switches a rule off."""

    #: How much larger its share of failed jobs may be than that of the stable version.
    errors: float | None = 0.01
    #: How many times as long its 95th percentile of predict time may be.
    latency_p95: float | None = 1.5
    #: The share of jobs on which its answer may differ from the stable version's.
    disagreement: float | None = 0.05

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Rules:
        """Return rules; those that are not given have their defaults. Raises SettingsInvalid."""
        unknown = sorted(set(document) - set(cls.__dataclass_fields__))
        if unknown:
            raise SettingsInvalid(f"There is no rule {unknown[0]!r}; there are errors, latency_p95 and disagreement.")
        for name, value in document.items():
            least = 1.0 if name == "latency_p95" else 0.0
            most = math.inf if name == "latency_p95" else 1.0
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and math.isfinite(value) and least <= value <= most):
                bounds = "at least 1" if name == "latency_p95" else "from 0 to 1"
                raise SettingsInvalid(f"The rule {name} must be a number {bounds}, or null to switch it off.")
        return cls(**document)


@dataclass(frozen=True)
class Plan:
    """How a rollout goes."""

    #: Weights in percent, growing.
    steps: Sequence[float] = DEFAULT_STEPS
    #: The jobs that must have met the candidate in a step before the next one.
    min_jobs: int = DEFAULT_MIN_JOBS
    #: How long a step lasts.
    step_s: float = DEFAULT_STEP_S
    rules: Rules = field(default_factory=Rules)
    on_failure: str = "stable"

    def check(self) -> Plan:
        """Return it. Raises SettingsInvalid if it can't be followed."""
        steps = list(self.steps)
        if not 1 <= len(steps) <= MAX_STEPS:
            raise SettingsInvalid(f"A rollout has from 1 to {MAX_STEPS} steps.")
        if sorted(set(steps)) != steps or not 0 < steps[0] <= steps[-1] <= 100:
            raise SettingsInvalid("The steps must grow; each is a weight in percent, above 0 and up to 100.")
        if not self.min_jobs >= 1:
            raise SettingsInvalid("min_jobs must be at least 1.")
        if not 0 < self.step_s <= MAX_STEP_S:
            raise SettingsInvalid(f"step_s must be above 0 and up to {MAX_STEP_S}.")
        if self.on_failure not in ON_FAILURE:
            raise SettingsInvalid(f"There is no on_failure {self.on_failure!r}; there are {' and '.join(ON_FAILURE)}.")
        return self


_Percent = Annotated[float, Field(gt=0, le=100, strict=True)]


class RolloutRules(BaseModel):
    """The most by which the candidate may differ; null switches a rule off."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    errors: float | None = Field(
        default=Rules.errors,
        ge=0,
        le=1,
        description="How much larger its share of failed jobs may be: 0.01 is one in a hundred more.",
    )
    latency_p95: float | None = Field(
        default=Rules.latency_p95,
        ge=1,
        allow_inf_nan=False,
        description="How many times as long its 95th percentile of predict time may be.",
    )
    disagreement: float | None = Field(
        default=Rules.disagreement,
        ge=0,
        le=1,
        description="The share of jobs that it may answer differently: with another label, or numbers that differ by "
        "more than a tenth.",
    )


class RolloutSettings(BaseModel):
    """How a version is rolled out on an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: list[_Percent] = Field(
        default=list(DEFAULT_STEPS),
        min_length=1,
        max_length=MAX_STEPS,
        description="The share of jobs that the candidate answers in each step (percent), growing. After the last one "
        "it is promoted.",
    )
    min_jobs: int = Field(
        default=DEFAULT_MIN_JOBS,
        strict=True,
        ge=1,
        le=10**9,
        description="Jobs that must have met the candidate in a step before the next one.",
    )
    step_s: float = Field(
        default=DEFAULT_STEP_S,
        strict=True,
        gt=0,
        le=MAX_STEP_S,
        description="How long a step lasts (s). With too few jobs, or a doubt, up to three times as long; then the "
        "rollout is paused.",
    )
    rules: RolloutRules = Field(default_factory=RolloutRules, description="When it is aborted.")
    start: Literal["evaluation"] | None = Field(
        default=None,
        description="evaluation: jobs of the journal are replayed on the candidate first, and the rollout waits for "
        "the verdict: `same` and `better` begin it, `differs` and `worse` abort it, `inconclusive` pauses it.",
    )
    on_failure: Literal["stable", "fail"] = Field(
        default="stable",
        description="stable: a job that fails on the candidate runs again on the stable version, and its caller gets "
        "that outcome; fail: the job fails.",
    )

    @property
    def plan(self) -> Plan:
        """The same as a plan, which `check` still has to check."""
        return Plan(self.steps, self.min_jobs, self.step_s, Rules(**self.rules.model_dump()), self.on_failure)


class FollowedRollout(RolloutSettings):
    """How an endpoint follows a moved alias: a rollout of the alias's version in the place of a swap."""

    model_config = ConfigDict(strict=True)

    since: str | None = Field(
        default=None,
        pattern="^[0-9]{1,6}[smhd]$",
        description="With `start`, the jobs to replay are those that ended in this time before the move. Default: 24h.",
    )
