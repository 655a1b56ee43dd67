"""What requests about shadows and rollouts contain, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import Field, model_validator

from api.http.schema import Answer, RequestSchema, VersionName
from api.journal.schemas import Moment
from registry.serving.rollout_plan import RolloutSettings


class ShadowStart(RequestSchema):
    """The candidate that predicts jobs after their ends."""

    version: VersionName = Field(description="The version of the endpoint's model to try.")
    share: float = Field(default=1.0, gt=0, le=1, description="The share of the endpoint's jobs that it predicts, too.")


class RolloutStart(RolloutSettings):
    """The candidate that is to take over the endpoint, and how."""

    version: VersionName = Field(description="The version of the endpoint's model to roll out.")
    since: Moment | None = Field(
        default=None,
        description="With `start`, the jobs to replay are those that ended since: a time ago (`24h`) or a time in "
        "ISO 8601. Default: 24h.",
    )
    evaluation_id: str | None = Field(
        default=None,
        max_length=32,
        description="The rollout waits for this evaluation of the version, as for a new one.",
    )

    @model_validator(mode="after")
    def _has_one_evaluation(self) -> Self:
        if self.start is not None and self.evaluation_id is not None:
            raise ValueError("needs either start or evaluation_id")
        if self.since is not None and self.start is None:
            raise ValueError("since needs start")
        return self


class RolloutRemark(RequestSchema):
    """Why a rollout is paused, aborted or promoted."""

    reason: str | None = Field(default=None, max_length=1000, description="The reason, for its history.")


class ArmView(Answer):
    """The jobs that one of both versions was to answer, since the trial began."""

    jobs: int = Field(description="Jobs that have ended.")
    failed: int = Field(
        description="Those that this version failed, also if the stable version answered them then; a batch that is "
        "lost as a whole counts as one job."
    )
    predict_p95_ms: float | None = Field(description="95th percentile of predict time (ms), at most a tenth off.")


class RuleView(Answer):
    """What the figures say about one rule."""

    rule: str = Field(description="errors, latency_p95 or disagreement.")
    limit: float = Field(description="The most that is allowed.")
    value: float | None = Field(description="What is observed; null without jobs.")
    interval: list[float] | None = Field(
        description="Bounds that contain the true value at every look at once; null where none are computed."
    )
    state: str = Field(description="kept; doubtful: it looks broken, but may not be; broken: the rollout is aborted.")
    text: str = Field(description="The same as a sentence.")


class TrialFigures(Answer):
    """The figures of both versions, side by side."""

    stable: ArmView = Field(description="The version that serves.")
    candidate: ArmView = Field(description="The version under judgement.")
    lost_hosts: int = Field(description="Hosts of the candidate that died under a job, or under a copy of one.")
    pairs: int = Field(description="Jobs that both versions have answered.")
    disagreements: int = Field(description="Those of them that they answered differently.")
    rules: list[RuleView] = Field(description="The rules that are on.")


class RolloutEventView(Answer):
    """What happened to a rollout."""

    event: str = Field(description="evaluating, loading, load, step, pause, resume, promote, promoted, abort, aborted.")
    by: str | None = Field(description="The name of the API key; null: the rollout itself, or a caller without a key.")
    at: datetime = Field(description="When.")
    reason: str | None = Field(description="Why.")
    details: dict[str, Any] = Field(description="Step, weight and figures at that time.")


class RolloutSummary(Answer):
    """A rollout."""

    id: str = Field(description="The id of the rollout.")
    endpoint_name: str = Field(description="The endpoint.")
    model_name: str = Field(description="Its model.")
    version: str = Field(description="The candidate.")
    stable_version: str = Field(description="The version beside which it began.")
    state: str = Field(description="evaluating, loading, running, paused, promoted or aborted.")
    reason: str | None = Field(description="Why it is in this state.")
    steps: list[float] = Field(description="The share of jobs of the candidate in each step (percent).")
    step: int = Field(description="The number of the present step; 0 before the first.")
    weight: float = Field(description="The share of jobs that the candidate answers now (0 to 1).")
    min_jobs: int = Field(description="Jobs that must have met the candidate in a step before the next one.")
    step_s: float = Field(description="How long a step lasts (s).")
    rules: dict[str, float | None] = Field(description="The limit of each rule; null: it is off.")
    on_failure: str = Field(description="stable: what fails on the candidate runs again on the stable version; fail.")
    evaluation_id: str | None = Field(description="The evaluation that it begins with.")
    by: str | None = Field(description="The name of the API key that started it; null: a caller without a key.")
    created_at: datetime = Field(description="When it was started.")
    step_started_at: datetime | None = Field(description="When the present step began.")
    finished_at: datetime | None = Field(description="When it was promoted or aborted.")


class RolloutView(RolloutSummary):
    """A rollout with its figures and its history."""

    jobs_in_step: int = Field(description="Jobs that have met the candidate in the present step.")
    figures: TrialFigures = Field(description="Both versions since the rollout began.")
    report: dict[str, Any] | None = Field(description="How their answers to the same jobs compare; null without any.")
    events: list[RolloutEventView] = Field(description="What happened to it, newest first.")


class Rollouts(Answer):
    """The rollouts of an endpoint."""

    endpoint_name: str = Field(description="The endpoint.")
    rollouts: list[RolloutSummary] = Field(description="The last 50, newest first.")


class ShadowView(Answer):
    """A shadow with its report."""

    id: str = Field(description="The id of the shadow.")
    endpoint_name: str = Field(description="The endpoint.")
    model_name: str = Field(description="Its model.")
    version: str = Field(description="The candidate.")
    stable_version: str = Field(description="The version beside which it began.")
    share: float = Field(description="The share of jobs that it predicts after their ends.")
    state: str = Field(description="running; stopped; failed: no worker can load it.")
    reason: str | None = Field(description="Why it has ended.")
    by: str | None = Field(description="The name of the API key that started it; null: a caller without a key.")
    started_at: datetime = Field(description="When it was started.")
    stopped_at: datetime | None = Field(description="When it ended.")
    predicted: int = Field(description="Jobs that the candidate has predicted.")
    errors: int = Field(description="Those on which it failed.")
    shed: int = Field(description="Jobs that it was not given, because it had too many.")
    lost: int = Field(description="Jobs that it has not answered, because its host was lost or took too long.")
    lost_hosts: int = Field(description="Hosts of the candidate that died under these.")
    pairs: int = Field(description="Jobs that both versions have answered.")
    disagreements: int = Field(description="Those of them that they answered differently.")
    report: dict[str, Any] | None = Field(description="How their answers compare; null without any.")
