"""What the service shows: outcomes, models, versions and deployments, with types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from api.client.typing import Self


@dataclass(frozen=True)
class _Shown:
    #: All that the service has said, also what this release of the client has no name for.
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return what a document says."""
        known = {each.name for each in fields(cls)} - {"document"}
        return cls(document=document, **{name: document[name] for name in known & document.keys()})


@dataclass(frozen=True)
class Timing:
    """Where the time of a job went."""

    queued_ms: float = 0.0
    predict_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True)
class Outcome(_Shown):
    """How a prediction came about: `prediction` for one input, `predictions` for several."""

    prediction: Any = None
    predictions: list[Any] | None = None
    endpoint_name: str = ""
    model_name: str = ""
    version: str = ""
    worker: str = ""
    batch_size: int = 0
    attempts: int = 0

    @property
    def timing(self) -> Timing:
        """Where the time went."""
        said = self.document.get("timing") or {}
        return Timing(**{each.name: said.get(each.name, 0.0) for each in fields(Timing)})


@dataclass(frozen=True)
class Step(_Shown):
    """A step of a pipeline; `client.job(step.job_id)` is the job that it is."""

    endpoint_name: str = ""
    job_id: str = ""
    #: As of a job; or waiting, before it is submitted, or skipped, if it never will be.
    status: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    error: Mapping[str, Any] | None = None

    @property
    def outcome(self) -> Outcome | None:
        """Its prediction(s), and how they came about; None without one, or if its record has expired."""
        said = self.document.get("outcome")
        return None if said is None else Outcome.of(said)


@dataclass(frozen=True)
class QueuePlace(_Shown):
    """Where a queued job is: how many unfinished jobs go before it, and how long it will probably wait to begin."""

    position: int = 0
    #: None if it is unknown; `reason` says why.
    estimated_wait_s: float | None = None
    #: no_ready_worker, not_measured or parked; or loading, if the estimate includes a load of the model.
    reason: str | None = None


@dataclass(frozen=True)
class Deployment(_Shown):
    """An endpoint: what is desired, and what the workers report."""

    endpoint_name: str = ""
    model_name: str = ""
    version: str = ""
    #: deploying, building environment, active, degraded, draining, failed, parked or undeployed.
    status: str = ""
    #: Why it is not active.
    reason: str | None = None
    worker_group: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    workers: list[Mapping[str, Any]] = field(default_factory=list)
    request_count: int = 0
    queue_depth: int = 0
    queue_bytes: int = 0
    #: Jobs that wait for their time (Celery's eta), outside of the queue.
    delayed_count: int = 0
    avg_latency_ms: float | None = None
    revision: int = 0
    #: The alias whose moves swap the endpoint, or roll its version out.
    followed_alias: str | None = None
    #: Where it stands with that alias: alias, version, serves, rollout, reason and text; None if it follows none.
    following: Mapping[str, Any] | None = None
    #: Why no worker can load this revision; None if that is not so. An earlier one may still serve.
    load_error: str | None = None
    #: How the workers' libraries differ from those that the model was made with.
    warnings: list[str] = field(default_factory=list)
    #: Of a deploy, swap, configure, rollback or undeploy: what it has changed, as {"hosts": {"from": 1, "to": 2}}.
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class DeploymentChange(_Shown):
    """One change of a deployment; `document` has what was desired before and after it, as "from" and "to"."""

    revision: int = 0
    #: deploy, swap, configure, undeploy, rollback; unrecorded if a release without a history did it.
    action: str = ""
    #: The name of an API key; None for a caller without one.
    by: str | None = None
    #: When, as ISO 8601.
    at: str = ""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rolled_back_to: int | None = None
    #: active, failed, undeployed, parked or superseded; None as long as it is unknown.
    outcome: str | None = None
    #: Why it has failed.
    reason: str | None = None


@dataclass(frozen=True)
class ModelVersion(_Shown):
    """One immutable version of a model."""

    model_name: str = ""
    version: str = ""
    runtime: str = ""
    signature: Mapping[str, Any] = field(default_factory=dict)
    input_example: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    artifact_sha256: str = ""
    artifact_size_bytes: int = 0
    #: The environment that it runs in; None is the workers' own.
    environment_sha256: str | None = None
    #: The aliases that name it.
    aliases: list[str] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model(_Shown):
    """A model and how many versions it has."""

    name: str = ""
    latest_version: str | None = None
    version_count: int = 0
    #: Alias → the version that it names.
    aliases: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> list[ModelVersion]:
        """Its versions, oldest first; of a list of models, none."""
        return [ModelVersion.of(each) for each in self.document.get("versions", [])]


@dataclass(frozen=True)
class Alias(_Shown):
    """A movable name for a version of a model."""

    model_name: str = ""
    alias: str = ""
    version: str = ""
    #: The endpoints that each move binds to its version.
    followed_by: list[str] = field(default_factory=list)
    #: Of a move: whether it named another version before, the endpoints that now swap, and those that roll it out.
    moved: bool = False
    swapped: list[str] = field(default_factory=list)
    rolling_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rollout(_Shown):
    """A candidate that answers a growing share of an endpoint's jobs; `document` has its figures, rules and report."""

    id: str = ""
    endpoint_name: str = ""
    model_name: str = ""
    #: The candidate, and the version beside which it began.
    version: str = ""
    stable_version: str = ""
    #: evaluating, loading, running, paused, promoted or aborted.
    state: str = ""
    reason: str | None = None
    #: The share of jobs of the candidate in each step (percent).
    steps: list[float] = field(default_factory=list)
    #: The number of the present step; 0 before the first.
    step: int = 0
    #: The share of jobs that the candidate answers now (0 to 1).
    weight: float = 0.0
    events: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether it was promoted or aborted."""
        return self.state in ("promoted", "aborted")


@dataclass(frozen=True)
class Shadow(_Shown):
    """A candidate that predicts jobs after their ends; `report` says how its answers compare."""

    id: str = ""
    endpoint_name: str = ""
    model_name: str = ""
    version: str = ""
    stable_version: str = ""
    #: running, stopped, or failed if no worker can load the candidate.
    state: str = ""
    reason: str | None = None
    share: float = 1.0
    #: Jobs that both versions have answered, and those of them that they answered differently.
    pairs: int = 0
    disagreements: int = 0
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Subscription(_Shown):
    """A URL that gets a webhook for each event of some kinds."""

    subscription_id: str = ""
    #: Without its query, which may hold tokens.
    url: str = ""
    #: Kinds of events, such as rollout.aborted.
    events: list[str] = field(default_factory=list)
    #: Only events of these endpoints; None for all, also later ones.
    endpoint_names: list[str] | None = None
    #: The name of the API key that made it; None for a caller without one.
    by: str | None = None
    #: When it was made, ISO 8601; it gets no earlier events.
    created_at: str = ""


@dataclass(frozen=True)
class Figures(_Shown):
    """What ended in some time, how long it took (ms), and how many jobs waited."""

    #: When it begins, ISO 8601; empty for a summary.
    at: str = ""
    #: All jobs that ended: succeeded, failed and withdrawn (cancelled or expired).
    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    withdrawn: int = 0
    #: From submit to end.
    total_p50_ms: float | None = None
    total_p95_ms: float | None = None
    #: From submit to the start of the batch.
    queued_p50_ms: float | None = None
    queued_p95_ms: float | None = None
    #: Of the model host, for the batch.
    predict_p50_ms: float | None = None
    predict_p95_ms: float | None = None
    #: The most jobs that waited; None where no worker was there to look.
    queue_depth: int | None = None


@dataclass(frozen=True)
class Stats(_Shown):
    """The figures of a deployment over time."""

    endpoint_name: str = ""
    since_s: int = 0
    #: The length of each bucket: 60 s up to an hour, 600 s beyond.
    step_s: int = 0

    @property
    def summary(self) -> Figures:
        """All buckets together."""
        return Figures.of(self.document.get("summary") or {})

    @property
    def buckets(self) -> list[Figures]:
        """The figures of each step, oldest first; the last one is not over yet."""
        return [Figures.of(each) for each in self.document.get("buckets") or []]


@dataclass(frozen=True)
class Evaluation(_Shown):
    """A replay of an endpoint's jobs on a candidate version."""

    evaluation_id: str = ""
    endpoint_name: str = ""
    model_name: str = ""
    #: The candidate, and the version that the endpoint served when it was created.
    version: str = ""
    stable_version: str = ""
    #: waiting, loading, replaying, succeeded, failed or cancelled.
    state: str = ""
    #: same, differs, inconclusive, better or worse; None without a report.
    verdict: str | None = None
    #: Why it failed.
    error: str | None = None
    #: jobs, replayed, control, errors, stopped and eta_s.
    progress: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing can change it any more."""
        return self.state in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class JournalKept(_Shown):
    """How much of an endpoint's jobs the journal keeps."""

    endpoint_name: str = ""
    #: The share of jobs that are kept now.
    journal: float = 0.0
    journal_retention_days: int = 0
    #: Jobs in files.
    job_count: int = 0
    file_count: int = 0
    size_bytes: int = 0
    #: When the first and the last of them ended, ISO 8601.
    first_at: str | None = None
    last_at: str | None = None
    #: Jobs that are not in files yet.
    waiting_count: int = 0
    #: Jobs that were left out because too many waited.
    dropped_count: int = 0


@dataclass(frozen=True)
class Quality(_Shown):
    """How good the answers of an endpoint are, by feedback."""

    endpoint_name: str = ""
    #: The whole UTC days on which the jobs ended, ISO 8601; `until` is None for now.
    since: str = ""
    until: str | None = None
    #: When the service has computed it, ISO 8601; None without feedback. Days that it has still to compute.
    computed_at: str | None = None
    pending_days: int = 0
    #: For each version: model_name, version, job_count, row_count, failed_count, not_comparable_count, and accuracy,
    #: mae and rmse, which may be None.
    versions: list[Mapping[str, Any]] = field(default_factory=list)
    #: The same for each `day` and version, the newest first.
    days: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Drift(_Shown):
    """How inputs and answers of the last 24 hours differ from those of the version's first jobs in the journal."""

    endpoint_name: str = ""
    model_name: str = ""
    version: str = ""
    #: Why there is no index; None if there is one.
    reason: str | None = None
    computed_at: str | None = None
    #: job_count, first_at and last_at of the version's first jobs; None if there are too few.
    reference: Mapping[str, Any] | None = None
    #: Jobs that were compared with them.
    job_count: int = 0
    #: The highest population stability index of all fields.
    highest: float | None = None
    #: For each field: field, index and noise.
    fields: list[Mapping[str, Any]] = field(default_factory=list)
    #: The highest index of each five minutes, the newest last.
    history: list[float | None] = field(default_factory=list)
