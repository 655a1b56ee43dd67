"""The status of deployments, computed from the registry's rows and the workers' reports; stored nowhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from registry import runtimes
from registry.deployments import DesiredDeployment, Intent
from registry.runtimes.models import libraries
from workers import keys
from workers.broker import backlogs
from workers.broker.backlogs import Backlog
from workers.jobs import records
from workers.jobs.query import JobView
from workers.measures import counters, paces, reports
from workers.measures.counters import Counted
from workers.measures.reports import EndpointReport, HostsState, SeenReport, VersionReport, WorkerReport
from workers.platform.lua import Lua, run_in_parts
from workers.platform.redis.client import records_client, translated_errors

#: Statuses of a deployment's view.
DEPLOYING, ACTIVE, DEGRADED, FAILED = "deploying", "active", "degraded", "failed"
BUILDING = "building environment"
DRAINING, PARKED, UNDEPLOYED = "draining", "parked", "undeployed"
#: Of a deployment whose idle hosts have ended: it takes jobs, and the first one loads it.
ASLEEP, LOADING = "asleep", "loading"
#: The statuses of a deployment that has been proved to load, and takes jobs.
SETTLED = (ACTIVE, ASLEEP, LOADING)
#: The statuses that the API shows.
SHOWN = (DEPLOYING, BUILDING, ACTIVE, ASLEEP, LOADING, DEGRADED, FAILED, DRAINING, PARKED)

#: States of hosts that serve, or may do so in a moment.
_MAY_SERVE = (HostsState.LOADING, HostsState.BUILDING, HostsState.READY, HostsState.STOPPING, HostsState.ASLEEP)

_READ_BYTES = Lua("workers.jobs", "queue_bytes")

#: A client is asked to retry on a full queue after this share of it has been served.
_SERVED_SHARE = 0.05
LONGEST_RETRY_S = 60
#: `Retry-After` if the pace of a deployment is unknown, and if no worker serves it.
RETRY_UNMEASURED_S, RETRY_UNSERVED_S = 2, 10


@dataclass(frozen=True, slots=True)
class _Seen:
    """One worker's report about one endpoint."""

    worker: WorkerReport
    endpoint: EndpointReport

    def at(self, revision: int) -> VersionReport | None:
        """Return this worker's report on a revision of the deployment; None if it has none. A candidate is none."""
        mine = (each for each in self.endpoint["versions"] if not each.get("arm"))
        return next((each for each in mine if each["revision"] == revision), None)


@dataclass(frozen=True, slots=True)
class Observed:
    """Deployments as Redis shows them at one moment, and what else was read for that."""

    #: The API's view of each deployment: desired, observed, backlog and figures.
    views: list[dict[str, Any]]
    #: The live workers.
    workers: list[SeenReport]
    #: The counters of each deployment.
    counted: list[Counted]


def views(desired: Sequence[DesiredDeployment]) -> list[dict[str, Any]]:
    """Return the API's view of each deployment. Raises as `observe`."""
    return observe(desired).views


def observe(desired: Sequence[DesiredDeployment]) -> Observed:
    """Read what workers and queues say of deployments, in a fixed number of round trips to Redis.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    names = [each.endpoint_name for each in desired]
    with translated_errors():
        backlog, sizes = backlogs.read(names), _queue_bytes(names)
        counted = counters.read(names, time.time())
        workers, revisions = live_workers(), _served_revisions(names)
    found = [
        _view(each, workers, backlog[each.endpoint_name], figures, revision) | {"queue_bytes": size}
        for each, figures, size, revision in zip(desired, counted, sizes, revisions, strict=True)
    ]
    return Observed(found, workers, counted)


def _queue_bytes(endpoint_names: Sequence[str]) -> list[int]:
    """Return the bytes of each endpoint's unfinished jobs; 0 where they can't be read."""
    return run_in_parts(records_client(), _READ_BYTES, [keys.weights(name) for name in endpoint_names])


def _served_revisions(endpoint_names: Sequence[str]) -> Sequence[bytes | None]:
    """Return which revision of each endpoint was served last; None if none was, or if that can't be read."""
    try:
        found = records_client().hmget(keys.SERVED, endpoint_names) if endpoint_names else []
    except redis.ResponseError:
        return [None] * len(endpoint_names)
    return cast("list[bytes | None]", found)


def live_workers() -> list[SeenReport]:
    """Return the reports of live workers.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors(), records_client().pipeline(transaction=False) as pipeline:
        reports.queue_reads(pipeline)
        return reports.parse(pipeline.execute())


def room_in_s(endpoint_name: str, max_queue_length: int, jobs: int = 1) -> int:
    """Estimate in how many seconds a full queue has room for `jobs` more, from the pace of its workers."""
    pace, ready = paces.default_paces().of(endpoint_name)
    if pace is None:
        return RETRY_UNMEASURED_S if ready else LONGEST_RETRY_S
    return bounded_s(max(jobs, max_queue_length * _SERVED_SHARE) / pace.jobs_per_s)


def retry_after_s(job: JobView) -> int:
    """Return after how many seconds a client should ask again for an unfinished job."""
    pace, ready = paces.default_paces().of(job.endpoint_name)
    if not ready and job.queue_position is not None and job.queue_position.ends_in_s is not None:
        return bounded_s(job.queue_position.ends_in_s)  # it is being loaded
    if pace is None:
        return RETRY_UNMEASURED_S if ready else RETRY_UNSERVED_S
    if job.is_delayed:
        return bounded_s((job.not_before or 0) - time.time())
    if job.queue_position is None:
        return bounded_s(pace.batch_s(pace.batch_jobs))
    ends_in_s = job.queue_position.ends_in_s
    return bounded_s(ends_in_s) if ends_in_s is not None else RETRY_UNMEASURED_S


def bounded_s(seconds: float) -> int:
    """Return a value for `Retry-After`: whole seconds, at least one, at most `LONGEST_RETRY_S`."""
    return max(1, math.ceil(min(LONGEST_RETRY_S, seconds)))


def first_load_failure(desired: DesiredDeployment) -> str | None:
    """Return the load error of a new deployment if all its workers failed to load it; else None.

    As long as no worker reports a failure, it reads only the reports, once a second for all endpoints.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    if not paces.default_paces().is_failing(desired.endpoint_name):
        return None
    with translated_errors(), records_client().pipeline(transaction=False) as pipeline:
        reports.queue_reads(pipeline)
        pipeline.hexists(keys.SERVED, desired.endpoint_name)
        *replies, has_served = pipeline.execute()
    return None if has_served else _load_failure(desired, reports.parse(replies))


def _load_failure(desired: DesiredDeployment, workers: Sequence[WorkerReport]) -> str | None:
    mine = [worker for worker in workers if worker["worker_group"] == desired.worker_group]
    endpoints = [worker["endpoints"].get(desired.endpoint_name) for worker in mine]
    failures = [each.get("load_failure") for each in endpoints if each]
    errors = [each["error"] for each in failures if each and each["revision"] == desired.revision]
    return errors[0] if errors and len(errors) == len(mine) else None


def forget_served(endpoint_names: Sequence[str]) -> None:
    """Forget that these undeployed endpoints were served, so that their next deploy counts as the first.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        records_client().hdel(keys.SERVED, *endpoint_names)


def nudge() -> None:
    """Notify the workers that desired deployments have changed; without it, they notice a little later.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        records_client().publish(keys.NUDGE_CHANNEL, "changed")


def _view(
    desired: DesiredDeployment,
    workers: Sequence[WorkerReport],
    backlog: Backlog,
    counted: Counted,
    served_revision: bytes | None,
) -> dict[str, Any]:
    seen = [
        _Seen(worker, worker["endpoints"][desired.endpoint_name])
        for worker in workers
        if desired.endpoint_name in worker["endpoints"]
    ]
    in_group = sum(worker["worker_group"] == desired.worker_group for worker in workers)
    queued = backlog.depth + backlog.delayed.count + sum(each.endpoint["waiting"] for each in seen)
    load_error = _load_error(desired, seen, in_group, queued)
    mine = [each for each in seen if each.worker["worker_group"] == desired.worker_group]
    elsewhere = sum(_is_left_to_others(each) for each in mine)
    status, reason = _status(desired, seen, in_group, elsewhere, backlog, load_error)
    if not in_group and not backlog.depth and _rests(desired, served_revision):
        # As on a worker that starts now: it would load nothing before the next job.
        status, reason = ASLEEP, f"No worker of group {desired.worker_group!r} is running; its next job needs one."
    return {
        "endpoint_name": desired.endpoint_name,
        "model_name": desired.model_name,
        "version": desired.version,
        "status": status,
        "reason": reason,
        "load_error": load_error,
        "warnings": _warnings(desired, workers, seen),
        "worker_group": desired.worker_group,
        "followed_alias": desired.followed_alias,
        "workers": [_worker_view(each, version) for each in seen for version in each.endpoint["versions"]],
        "settings": desired.settings.model_dump(),
        "revision": desired.revision,
        "deployed_at": desired.deployed_at.isoformat(),
        "updated_at": desired.updated_at.isoformat(),
        **counters.figures(counted),
        "queue_depth": backlog.depth + sum(each.endpoint["waiting"] for each in seen),
        "oldest_job_age_s": backlog.oldest_age_s,
        "delayed_count": backlog.delayed.count,
        "next_due_at": records.iso(backlog.delayed.next_due_at),
    }


def _rests(desired: DesiredDeployment, served_revision: bytes | None) -> bool:
    """Whether a deployment has served as it is, and needs no host before its next job."""
    is_proved = served_revision is not None and int(served_revision) == desired.revision
    return is_proved and desired.intent is Intent.SERVE and desired.settings.may_sleep and desired.candidate is None


def _warnings(desired: DesiredDeployment, workers: Sequence[WorkerReport], seen: list[_Seen]) -> list[str]:
    """Return how the libraries of the group's workers differ from the model's, and what those libraries warn of."""
    libraries_of = [each.get("libraries", {}) for each in workers if each["worker_group"] == desired.worker_group]
    depends = desired.environment_sha256 is None and runtimes.stores_pickles(desired.runtime)
    built_with = desired.built_with if depends else {}
    different = [text for here in libraries_of for text in libraries.differences(built_with, here)]
    hosts = [version for each in seen if (version := each.at(desired.revision))]
    of_hosts = [text for version in hosts for text in version.get("warnings", [])]
    return list(dict.fromkeys([*different, *of_hosts]))


def _worker_view(seen: _Seen, version: VersionReport) -> dict[str, Any]:
    return {"worker": seen.worker["worker"], **version}


def _is_left_to_others(seen: _Seen) -> bool:
    """Whether a worker serves a deployment only when others can't: it is not missed."""
    return any(each["state"] == HostsState.NOT_PLACED for each in seen.endpoint["versions"])


def _status(  # noqa: PLR0913, PLR0917 - called in one place
    desired: DesiredDeployment,
    seen: list[_Seen],
    in_group: int,
    elsewhere: int,
    backlog: Backlog,
    load_error: str | None,
) -> tuple[str, str | None]:
    if desired.intent is Intent.SERVE:
        return _serving_status(desired, seen, in_group, in_group - elsewhere, load_error)
    if desired.intent is Intent.PARK:
        return (DRAINING, "Running jobs are being finished.") if seen else (PARKED, None)
    if seen or backlog.depth or backlog.delayed.count:
        return DRAINING, _draining_reason(desired, in_group, backlog, load_error)
    return UNDEPLOYED, None


def _draining_reason(desired: DesiredDeployment, in_group: int, backlog: Backlog, load_error: str | None) -> str:
    if load_error:
        return (
            f"No worker can load {desired.model_name} version {desired.version}, so its queued jobs can't be "
            f"finished: {load_error} To end them, undeploy with backlog 'reject'; to keep them for another version, "
            "with 'park'."
        )
    how = "finished" if desired.intent is Intent.DRAIN else "rejected"
    missing = f" No worker of group {desired.worker_group!r} is running. Start one, or undeploy with backlog 'park'."
    waits = "" if in_group else missing
    return f"Queued jobs are being {how}.{waits or _delayed_reason(desired, backlog)}"


def _load_error(desired: DesiredDeployment, seen: list[_Seen], in_group: int, queued: int) -> str | None:
    """Return the error with which all workers of the group failed to load a deployment; None if they didn't.

    While it is served, only reports on its revision count. While jobs are drained, any hosts finish them, so none may
    be there that could, and errors of earlier revisions count, too: they are known before the workers try again.
    """
    mine = [each for each in seen if each.worker["worker_group"] == desired.worker_group]
    if desired.intent is Intent.DRAIN and queued:
        reports = [each.endpoint["versions"] for each in mine]
        if any(version["state"] in _MAY_SERVE for versions in reports for version in versions):
            return None
    elif desired.intent is Intent.SERVE:
        reports = [[version] for each in mine if (version := each.at(desired.revision))]
    else:
        return None
    errors = [error for versions in reports if (error := _error_of(versions))]
    return errors[0] if errors and len(errors) == in_group else None


def _error_of(versions: Sequence[VersionReport]) -> str | None:
    failed = [each["error"] for each in versions if each["state"] == HostsState.FAILED]
    return failed[-1] if failed else None


def _delayed_reason(desired: DesiredDeployment, backlog: Backlog) -> str:
    """Return how long draining waits for delayed jobs; "" if it doesn't."""
    count, next_due_at = backlog.delayed.count, records.iso(backlog.delayed.next_due_at)
    if not count or desired.intent is not Intent.DRAIN:
        return ""
    some = "1 delayed job is due at" if count == 1 else f"{count} delayed jobs remain, the first is due at"
    return f" {some} {next_due_at}. To stop sooner, undeploy with backlog 'reject' or 'park'."


def _serving_status(
    desired: DesiredDeployment, seen: list[_Seen], in_group: int, placed: int, load_error: str | None
) -> tuple[str, str | None]:
    if not in_group:
        return DEPLOYING, f"No worker of group {desired.worker_group!r} is running; jobs wait in the queue."
    if not placed:
        return DEPLOYING, "A worker is about to take it over."
    found = [version for each in seen if (version := each.at(desired.revision))]
    mine = [each for each in found if each["state"] != HostsState.NOT_PLACED]
    ready = [each for each in mine if each["state"] == HostsState.READY]
    errors = [each["error"] for each in mine if each["state"] == HostsState.FAILED and each["error"]]
    before = _still_serving(seen, desired)
    troubles = [trouble for each in seen if (trouble := each.endpoint.get("trouble"))]
    if ready and troubles:
        return DEGRADED, f"Redis refuses commands. {troubles[0]}"
    if ready:
        return _ready_status(desired, ready, errors, placed, before.text)
    if (resting := _resting_status(mine, errors, before.text)) is not None:
        return resting
    return _unready_status(desired, mine, load_error, before)


def _waits(mine: list[VersionReport]) -> str | None:
    """Return why no host of this version can be started now; None if one could."""
    reasons = [reason for each in mine if (reason := each.get("waits_for"))]
    return f"A model host {reasons[0]}." if reasons and len(reasons) == len(mine) else None


def _unready_status(
    desired: DesiredDeployment, mine: list[VersionReport], load_error: str | None, before: _Before
) -> tuple[str, str | None]:
    if not load_error:
        return _loading_status(mine, before.text)
    if before.is_same_version:
        return DEGRADED, f"The settings of revision {desired.revision} don't work: {load_error}{before.text}"
    return FAILED, load_error + before.text


def _loading_status(mine: list[VersionReport], before: str) -> tuple[str, str]:
    building = [each.get("building", "") for each in mine if each["state"] == HostsState.BUILDING]
    if building:
        return BUILDING, f"The environment of the version is being built: {building[0]}.{before}"
    return DEPLOYING, (_waits(mine) or "The model is being loaded.") + before


def _resting_status(mine: list[VersionReport], errors: list[str], before: str) -> tuple[str, str | None] | None:
    """Return the status of a deployment without a loaded host whose version is known to load; None if it isn't."""
    if before:
        return None
    waking = any(each.get("woken_at") and each["state"] == HostsState.LOADING for each in mine)
    asleep = any(each["state"] == HostsState.ASLEEP for each in mine)
    if errors and (waking or asleep):
        return DEGRADED, f"A worker failed to load it: {errors[0]}"
    if waking:
        return LOADING, _waits(mine) or "The model is being loaded for waiting jobs."
    return (ASLEEP, "It has no hosts while it is idle; its next job loads it.") if asleep else None


def _ready_status(
    desired: DesiredDeployment, ready: list[VersionReport], errors: list[str], placed: int, before: str
) -> tuple[str, str | None]:
    if errors:
        return DEGRADED, f"Ready on {len(ready)} of {placed} workers; elsewhere: {errors[0]}{before}"
    if before:
        # A swap is over when no worker serves the previous version.
        return DEPLOYING, f"Ready on {len(ready)} of {placed} workers.{before}"
    short = [each for each in ready if each["hosts"] < _least_hosts(desired, each)]
    if short:
        waits_for = short[0].get("waits_for")
        missing = f"A model host {waits_for}." if waits_for else "A model host is being replaced."
        return DEGRADED, short[0]["error"] or missing
    return ACTIVE, None


def _least_hosts(desired: DesiredDeployment, version: VersionReport) -> int:
    """Return how many hosts a version must have; with a range of hosts, those beyond the first come and go."""
    settings, wanted = desired.settings, version["hosts_wanted"]
    return min(settings.first_hosts, wanted) if settings.has_range else wanted


@dataclass(frozen=True, slots=True)
class _Before:
    """What serves of earlier revisions."""

    #: A sentence with a space before it; "" if nothing does.
    text: str
    #: Whether it is the desired version, with earlier settings.
    is_same_version: bool


def _still_serving(seen: list[_Seen], desired: DesiredDeployment) -> _Before:
    serving = [
        version
        for each in seen
        for version in each.endpoint["versions"]
        if version["revision"] != desired.revision and version["state"] == HostsState.READY and not version.get("arm")
    ]
    if not serving:
        return _Before("", is_same_version=False)
    versions = sorted({each["version"] for each in serving})
    bound = (desired.model_name, desired.version)
    if any((each["model_name"], each["version"]) != bound for each in serving):
        return _Before(f" Version {', '.join(versions)} keeps serving.", is_same_version=False)
    revision = max(each["revision"] for each in serving)
    text = f" Version {versions[0]} keeps serving with the settings of revision {revision}."
    return _Before(text, is_same_version=True)
