"""The status of deployments, computed from what is desired and what workers report; stored nowhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry.deployments import DesiredDeployment, Intent
from workers import backlogs, keys, paces, reports, statistics
from workers.backlogs import Backlog
from workers.jobs import Job
from workers.redis_client import records_client, translated_errors
from workers.reports import EndpointReport, HostsState, SeenReport, VersionReport, WorkerReport

#: Statuses that a view can have.
DEPLOYING, ACTIVE, DEGRADED, FAILED = "deploying", "active", "degraded", "failed"
DRAINING, PARKED, UNDEPLOYED = "draining", "parked", "undeployed"
#: All but the one that nobody is shown.
SHOWN = (DEPLOYING, ACTIVE, DEGRADED, FAILED, DRAINING, PARKED)

#: Who comes back to a full queue finds room if this share of it has been served meanwhile.
_ROOM = 0.05
LONGEST_RETRY_S = 60
#: When to ask again if nobody knows yet how fast a deployment is, and if no worker serves it.
RETRY_UNMEASURED_S, RETRY_UNSERVED_S = 2, 10


@dataclass(frozen=True, slots=True)
class _Seen:
    """One worker's report about one endpoint."""

    worker: WorkerReport
    endpoint: EndpointReport

    def at(self, revision: int) -> VersionReport | None:
        """What this worker has for that revision of the deployment."""
        return next((each for each in self.endpoint["versions"] if each["revision"] == revision), None)


def views(desired: Sequence[DesiredDeployment]) -> list[dict[str, Any]]:
    """Return what the API shows of each deployment: desired, observed, backlog and figures.

    All of Redis's part is read in one round trip for each server, however many deployments there are.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    now = time.time()
    with translated_errors():
        backlog = backlogs.read([each.endpoint_name for each in desired])
        with records_client().pipeline(transaction=False) as pipeline:
            reports.ask(pipeline)
            for each in desired:
                statistics.ask(pipeline, each.endpoint_name, now)
            answers = pipeline.execute()
    workers, figures = reports.understand(answers[:3]), answers[3:]
    step = statistics.WINDOWS_KEPT + 1
    return [
        _view(each, workers, backlog[each.endpoint_name], figures[step * index : step * (index + 1)])
        for index, each in enumerate(desired)
    ]


def live_workers() -> list[SeenReport]:
    """Return the reports of the workers that live.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors(), records_client().pipeline(transaction=False) as pipeline:
        reports.ask(pipeline)
        return reports.understand(pipeline.execute())


def room_in_s(endpoint_name: str, max_queue_length: int, jobs: int = 1) -> int:
    """Return after how many seconds a full queue will have room, from the pace at which it is served.

    `jobs` is for how many at once.
    """
    pace, ready = paces.default_paces().of(endpoint_name)
    if pace is None:
        return RETRY_UNMEASURED_S if ready else LONGEST_RETRY_S
    return bounded_s(max(jobs, max_queue_length * _ROOM) / pace.jobs_per_s)


def retry_after_s(job: Job) -> int:
    """Return after how many seconds it is worth asking again for a job that has not ended."""
    pace, ready = paces.default_paces().of(job.endpoint_name)
    if pace is None:
        return RETRY_UNMEASURED_S if ready else RETRY_UNSERVED_S
    if job.place is None:
        return bounded_s(pace.batch_s(pace.batch_jobs))
    return bounded_s(job.place.ends_in_s) if job.place.ends_in_s is not None else RETRY_UNMEASURED_S


def bounded_s(seconds: float) -> int:
    """Return a time as `Retry-After` says it: whole seconds, at least one, and never so many that nobody comes back."""
    return max(1, math.ceil(min(LONGEST_RETRY_S, seconds)))


def nudge() -> None:
    """Tell the workers that desired deployments have changed; without it they see it a little later.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        records_client().publish(keys.NUDGE_CHANNEL, "changed")


def _view(
    desired: DesiredDeployment, workers: Sequence[WorkerReport], backlog: Backlog, figures: list[dict[bytes, bytes]]
) -> dict[str, Any]:
    seen = [
        _Seen(worker, worker["endpoints"][desired.endpoint_name])
        for worker in workers
        if desired.endpoint_name in worker["endpoints"]
    ]
    in_group = sum(worker["worker_group"] == desired.worker_group for worker in workers)
    status, reason = _status(desired, seen, in_group, backlog)
    return {
        "endpoint_name": desired.endpoint_name,
        "model_name": desired.model_name,
        "version": desired.version,
        "status": status,
        "reason": reason,
        "worker_group": desired.worker_group,
        "workers": [_worker_view(each, version) for each in seen for version in each.endpoint["versions"]],
        "settings": desired.settings.model_dump(),
        "revision": desired.revision,
        "deployed_at": desired.deployed_at.isoformat(),
        "updated_at": desired.updated_at.isoformat(),
        **statistics.understand(figures),
        "queue_depth": backlog.depth + sum(each.endpoint["waiting"] for each in seen),
        "oldest_job_age_s": backlog.oldest_age_s,
    }


def _worker_view(seen: _Seen, version: VersionReport) -> dict[str, Any]:
    return {"worker": seen.worker["worker"], **version}


def _status(desired: DesiredDeployment, seen: list[_Seen], in_group: int, backlog: Backlog) -> tuple[str, str | None]:
    if desired.intent is Intent.SERVE:
        return _serving_status(desired, seen, in_group)
    if desired.intent is Intent.PARK:
        return (DRAINING, "Running jobs are being finished.") if seen else (PARKED, None)
    if seen or backlog.depth:
        how = "finished" if desired.intent is Intent.DRAIN else "rejected"
        missing = (
            f" No worker of group {desired.worker_group!r} is running. Start one, or undeploy with backlog 'park'."
        )
        waits = "" if in_group else missing
        return DRAINING, f"Queued jobs are being {how}.{waits}"
    return UNDEPLOYED, None


def _serving_status(desired: DesiredDeployment, seen: list[_Seen], in_group: int) -> tuple[str, str | None]:
    if not in_group:
        return DEPLOYING, f"No worker of group {desired.worker_group!r} is running; jobs wait in the queue."
    mine = [version for each in seen if (version := each.at(desired.revision))]
    ready = [each for each in mine if each["state"] == HostsState.READY]
    errors = [each["error"] for each in mine if each["state"] == HostsState.FAILED and each["error"]]
    before = _still_serving(seen, desired.revision)
    if ready:
        return _ready_status(ready, errors, in_group, before)
    if errors and len(errors) == in_group:
        return FAILED, errors[0] + before
    return DEPLOYING, "The model is being loaded." + before


def _ready_status(ready: list[VersionReport], errors: list[str], in_group: int, before: str) -> tuple[str, str | None]:
    if errors:
        return DEGRADED, f"Ready on {len(ready)} of {in_group} workers; elsewhere: {errors[0]}{before}"
    if before:
        # A swap is over only when no worker answers with what was there before.
        return DEPLOYING, f"Ready on {len(ready)} of {in_group} workers.{before}"
    short = [each for each in ready if each["hosts"] < each["hosts_wanted"]]
    if short:
        return DEGRADED, short[0]["error"] or "A model host is being replaced."
    return ACTIVE, None


def _still_serving(seen: list[_Seen], revision: int) -> str:
    versions = {
        version["version"]
        for each in seen
        for version in each.endpoint["versions"]
        if version["revision"] != revision and version["state"] == HostsState.READY
    }
    return f" Version {', '.join(sorted(versions))} keeps serving." if versions else ""
