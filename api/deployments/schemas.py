"""What requests about deployments contain, and what is answered."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from api.http.schema import NULL, TEXT, Answer, EndpointName, Name, RequestSchema, Revision, VersionName
from registry.history import KEPT_REVISIONS
from registry.serving.settings import ServingSettings

_UNITS_S = {"m": 60, "h": 3_600}
#: From 1m to 24h, which is 1440m.
_SINCE = "([1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m|([1-9]|1[0-9]|2[0-4])h"


class Deploy(ServingSettings):
    """What to deploy, under which endpoint name, with which serving settings."""

    model_name: Name
    version: VersionName | None = Field(
        default=None,
        description="By default the version that the endpoint has; the latest registered one if the endpoint is new, "
        "or changes to another model.",
    )
    alias: Name | None = Field(
        default=None, description="In place of `version`: the version that this alias of the model names now."
    )
    follow: bool = Field(
        default=False,
        description="With `alias` and `endpoint_name`: whether each move of the alias is a swap of the endpoint (or a "
        "rollout on it, with the setting `rollout`), until a deploy names a version or another alias, or the endpoint "
        "is rolled back to another version.",
    )
    endpoint_name: EndpointName | None = Field(default=None, description="`<model_name>-v<version>` by default.")
    worker_group: Name | None = Field(
        default=None,
        description="The group of workers that serves it; by default that of the endpoint, or `default` if it is new.",
    )
    reset: bool = Field(
        default=False,
        description="Whether settings and group that the request doesn't name become the defaults. Otherwise an "
        "existing endpoint keeps them, also an undeployed one.",
    )
    revision: Revision | None = Field(
        default=None, description="Only if the deployment still has this revision; 0: only if there is none yet."
    )

    @property
    def settings(self) -> dict[str, Any] | None:
        """The serving settings that the request names; None if it names none."""
        return _named_settings(self) or None


def _named_settings(request: BaseModel) -> dict[str, Any]:
    return request.model_dump(include=set(ServingSettings.model_fields) & request.model_fields_set)


def _or_default(setting: FieldInfo) -> tuple[Any, Any]:
    """Return a setting that a request may leave out, or set to null for its default."""
    described = f"{setting.description} null: back to the default."
    annotation: Any = setting.annotation
    annotation = Annotated[(annotation | None, *setting.metadata)] if setting.metadata else annotation | None
    return annotation, Field(default=None, description=described)


_OptionalSettings = create_model(
    "_OptionalSettings",
    __config__=ConfigDict(extra="forbid", frozen=True, strict=True),
    **{name: _or_default(each) for name, each in ServingSettings.model_fields.items()},
)  # type: ignore[call-overload]


class Configure(_OptionalSettings):  # type: ignore[misc, valid-type]
    """Which settings of a deployment to change; what is not named stays as it is, the version always does."""

    worker_group: Name | None = Field(default=None, description="Another group of workers.")
    reset: bool = Field(
        default=False, description="Whether settings and group that the request doesn't name become the defaults."
    )
    revision: Revision | None = Field(default=None, description="Only if the deployment still has this revision.")

    @property
    def settings(self) -> dict[str, Any]:
        """The serving settings that the request names; None is the default."""
        return _named_settings(self)


class Rollback(RequestSchema):
    """To which revision a deployment goes back."""

    to_revision: Revision | None = Field(
        default=None,
        description="A revision of the history. By default the latest that was served, has not failed, and differs "
        "from the present one.",
    )
    revision: Revision | None = Field(default=None, description="Only if the deployment still has this revision.")


class HistoryQuery(RequestSchema):
    """Parameters of the history of a deployment."""

    limit: int = Field(default=20, ge=1, le=KEPT_REVISIONS, description="The most changes to return.")


class Undeploy(RequestSchema):
    """Which deployments to take down, and what happens to queued jobs."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["endpoint_name"],
                    "properties": {"endpoint_name": TEXT, "model_name": NULL, "version": NULL},
                },
                {
                    "required": ["model_name"],
                    "properties": {"endpoint_name": NULL, "model_name": TEXT, "revision": NULL},
                },
            ]
        }
    )

    endpoint_name: EndpointName | None = None
    model_name: Name | None = None
    version: VersionName | None = Field(default=None, description="Every deployed version of the model by default.")
    backlog: Literal["drain", "reject", "park"] = Field(
        default="drain",
        description="Queued jobs are finished (drain), are cancelled (reject), or wait for the next deploy (park).",
    )
    revision: Revision | None = Field(
        default=None, description="Of an endpoint: only if the deployment still has this revision."
    )

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> Self:
        if (self.endpoint_name is None) == (self.model_name is None):
            raise ValueError('must have exactly one of "endpoint_name" and "model_name"')
        if self.version is not None and self.model_name is None:
            raise ValueError('can have "version" only together with "model_name"')
        if self.revision is not None and self.endpoint_name is None:
            raise ValueError('can have "revision" only together with "endpoint_name"')
        return self


class FollowingView(Answer):
    """Where an endpoint stands with the alias that it follows."""

    alias: str = Field(description="The alias.")
    version: str = Field(description="The version that the alias names.")
    serves: str = Field(description="The version that the endpoint serves.")
    rollout: str | None = Field(
        description="The state of the last rollout of the alias's version, if it is not served; null without one."
    )
    reason: str | None = Field(description="Why that rollout is in this state.")
    text: str = Field(description="The same in words: follows champion → version 4, aborted; serves 3.")


class DeploymentView(Answer):
    """A deployment: its desired row, and what the workers report."""

    endpoint_name: str
    model_name: str
    version: str
    status: str = Field(
        description="deploying, building environment, active, asleep, loading, degraded, draining, failed or parked."
    )
    reason: str | None = None
    load_error: str | None = Field(
        default=None,
        description="The error with which all workers of the group failed to load the present revision, so that it is "
        "not served; null if they didn't. An earlier version, or hosts with earlier limits, may still serve.",
    )
    warnings: list[str] = Field(
        default=[],
        description="How the libraries of the workers differ from those that the model was made with, and what "
        "scikit-learn warns of when it loads the model.",
    )
    changes: dict[str, Difference] | None = Field(
        default=None,
        description="In answers to deploy, configure, rollback and undeploy: what differs from before, by the name of "
        "the field or setting.",
    )
    workers: list[dict[str, Any]]
    worker_group: str
    followed_alias: str | None = Field(
        default=None, description="The alias whose moves swap the endpoint, or roll its version out."
    )
    following: FollowingView | None = Field(
        default=None, description="Where it stands with the alias that it follows; null if it follows none."
    )
    settings: dict[str, Any]
    deployed_at: datetime
    updated_at: datetime
    request_count: int
    avg_latency_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    queue_depth: int
    queue_bytes: int = Field(description="Bytes of the messages of unfinished jobs; `max_queue_bytes` is their limit.")
    oldest_job_age_s: float | None
    delayed_count: int = Field(
        description="Delayed jobs, which wait outside of the queue until their time (Celery's eta)."
    )
    next_due_at: datetime | None = Field(description="When the next delayed job is due.")
    revision: int


class Difference(Answer):
    """A value before a change and after it."""

    # `from` is a word of the language.
    model_config = ConfigDict(populate_by_name=True)

    from_: Any = Field(alias="from", description="The value before; null if there was none.")
    to: Any = Field(description="The value since then.")


class DesiredState(Answer):
    """What was desired of an endpoint at one revision."""

    model_name: str = Field(description="The model.")
    version: str = Field(description="Its version.")
    worker_group: str = Field(description="The group of workers that serves it.")
    intent: str = Field(description="serve; or drain, reject or park if it was undeployed so.")
    settings: dict[str, Any] = Field(description="The value of every serving setting.")
    followed_alias: str | None = Field(default=None, description="The alias whose moves swapped the endpoint.")
    candidate_version: str | None = Field(default=None, description="The version under judgement beside it.")
    candidate_weight: float | None = Field(
        default=None, description="The share of jobs that the candidate answered (0 to 1)."
    )


class DeploymentChange(Answer):
    """One change of a deployment."""

    model_config = ConfigDict(populate_by_name=True)

    revision: int = Field(description="The revision that the change has made.")
    action: str = Field(
        description="deploy, swap, configure, undeploy or rollback; of a candidate shadow, shadow end, rollout step, "
        "promote or abort; unrecorded if a release without a history did it."
    )
    by: str | None = Field(description="The name of the API key, `command line`, or null for a caller without a key.")
    at: datetime = Field(description="When.")
    from_: DesiredState | None = Field(alias="from", description="What was desired before; null for a new endpoint.")
    to: DesiredState = Field(description="What is desired since then.")
    changes: dict[str, Difference] = Field(description="What differs, by the name of the field or setting.")
    rolled_back_to: int | None = Field(description="The revision to which a rollback went.")
    outcome: str | None = Field(
        description="active, failed, undeployed or parked, as seen by the first look at the deployment that saw it "
        "settled; superseded if the next change came before that; null as long as it is unknown."
    )
    reason: str | None = Field(description="Why it has failed.")
    settled_at: datetime | None = Field(description="When the outcome was seen.")


class DeploymentHistory(Answer):
    """The changes of a deployment, newest first."""

    endpoint_name: str = Field(description="The endpoint.")
    revision: int = Field(description="The present revision.")
    rollback_to: int | None = Field(description="The revision to which a rollback goes by default; null if to none.")
    kept_revisions: int = Field(description="How many revisions the history of an endpoint goes back.")
    changes: list[DeploymentChange] = Field(description="The changes, newest first.")


class WorkerGpu(Answer):
    """A GPU of a worker."""

    id: str = Field(description="Its id, as in QUEUECAST_GPUS.")
    name: str | None = Field(default=None, description="Its name; null if nvidia-smi doesn't show it.")
    memory_bytes: int | None = Field(default=None, description="Its memory; null if nvidia-smi doesn't show it.")
    used_bytes: int | None = Field(default=None, description="What all processes use of its memory.")
    share: float = Field(description="The sum of the shares that hosts have of it (`gpu` of their deployments).")


class WorkerMemory(Answer):
    """A live worker, and the memory and GPUs of its model hosts."""

    worker: str = Field(description="The worker.")
    worker_group: str = Field(description="The group that it serves.")
    used_bytes: int | None = Field(
        default=None,
        description="What its hosts use, and what is kept for them; null for a worker of an earlier release.",
    )
    budget_bytes: int | None = Field(
        default=None, description="What its hosts may use together (QUEUECAST_WORKER_MEMORY_MB); null for no limit."
    )
    evictions: int | None = Field(
        default=None,
        description="Since it started: deployments that were put to sleep because others needed memory.",
    )
    cold_starts: int | None = Field(default=None, description="Since it started: loads for waiting jobs.")
    cold_start_p50_ms: float | None = Field(
        default=None,
        description="Median of its last cold starts (ms): from a job's arrival until a host had the model.",
    )
    cold_start_p95_ms: float | None = Field(default=None, description="95th percentile of its last cold starts (ms).")
    gpus: list[WorkerGpu] = Field(default=[], description="Its GPUs (QUEUECAST_GPUS).")


class Deployments(Answer):
    """Deployments by name."""

    deployments: list[DeploymentView]
    workers: list[WorkerMemory] | None = Field(
        default=None, description="In the list of all deployments: the live workers with their memory."
    )


def _within_a_day(since: str) -> str:
    if not re.fullmatch(_SINCE, since):
        raise ValueError("must be a number with the unit m or h, from 1m to 24h")
    return since


class StatsQuery(RequestSchema):
    """Parameters of `GET /deployments/<endpoint_name>/stats`."""

    since: Annotated[str, AfterValidator(_within_a_day)] = Field(
        default="1h",
        json_schema_extra={"pattern": f"^({_SINCE})$"},
        description="How far back, from `1m` to `24h`: a number with the unit m or h. Up to `1h` each bucket is a "
        "minute, beyond it ten minutes.",
    )

    @property
    def since_s(self) -> int:
        """The same in seconds."""
        return int(self.since[:-1]) * _UNITS_S[self.since[-1]]


class DeploymentFigures(Answer):
    """What ended in some time, how long it took, and how many jobs waited.

    Quantiles are at most a tenth off. They are null if no job has that time.
    """

    jobs: int = Field(description="Jobs that ended: `succeeded`, `failed` and `withdrawn`.")
    succeeded: int = Field(description="Jobs that ended with an outcome.")
    failed: int = Field(description="Jobs that ended with an error.")
    withdrawn: int = Field(description="Jobs that were cancelled or expired.")
    total_p50_ms: float | None = Field(description="Median of whole-job time (ms): from submit to end.")
    total_p95_ms: float | None = Field(description="95th percentile of whole-job time (ms).")
    queued_p50_ms: float | None = Field(description="Median of the time from submit to the start of the batch (ms).")
    queued_p95_ms: float | None = Field(description="95th percentile of that time (ms).")
    predict_p50_ms: float | None = Field(description="Median of the model host's time for the job's batch (ms).")
    predict_p95_ms: float | None = Field(description="95th percentile of that time (ms).")
    queue_depth: int | None = Field(
        description="The most jobs that waited, in the queue or in a worker, at the samples of each minute; null if no "
        "worker was running to take one."
    )


class DeploymentFiguresOfStep(DeploymentFigures):
    """The figures of one step of time."""

    at: datetime = Field(description="When the step begins.")


class DeploymentStats(Answer):
    """A deployment's figures over time; those of an undeployed endpoint stay for a day."""

    endpoint_name: str = Field(description="The endpoint.")
    since_s: int = Field(description="How far back the figures go (s).")
    step_s: int = Field(description="The length of each bucket (s): 60 up to an hour, 600 beyond.")
    summary: DeploymentFigures = Field(description="All buckets together.")
    buckets: list[DeploymentFiguresOfStep] = Field(
        description="The figures of each step, oldest first, also of steps without a job. The last one is not over yet."
    )
