"""Reports of workers: their form, how they are written, and which of them are current."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NotRequired, TypedDict, cast

import redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import Pipeline as AsyncPipeline

from registry.signatures.output_columns import OutputDescription
from workers import keys
from workers.platform import fast_json
from workers.platform.lua import Lua, script

#: A worker writes its report at every change, and at this interval.
REPORT_INTERVAL_S = 4.0
#: A worker counts as gone if its report is older than this.
REPORT_LIFE_S = 15.0
#: Live workers remove reports older than this.
_FORGET_AFTER_S = 3_600


class HostsState(StrEnum):
    """The state of one version's hosts on one worker."""

    #: Fetching the artifact, loading the model or warming up.
    LOADING = "loading"
    #: Building the environment of the version; `building` has the step.
    BUILDING = "building environment"
    #: Takes jobs.
    READY = "ready"
    #: Failed to load; `error` has the reason.
    FAILED = "failed"
    #: Finishes its jobs and stops.
    STOPPING = "stopping"
    #: Has no hosts, and takes jobs: the first one loads the version.
    ASLEEP = "asleep"
    #: Has no hosts and takes no jobs: other workers of the group serve the deployment.
    NOT_PLACED = "not placed"


class VersionReport(TypedDict):
    """One version that a worker has for an endpoint; during a swap there are two."""

    model_name: str
    version: str
    revision: int
    state: HostsState
    error: str | None
    hosts: int
    hosts_wanted: int
    pids: list[int]
    memory_bytes: int
    #: How long the model took to load; while it is asleep or is woken, from a job's arrival until a host had it.
    load_ms: float | None
    #: The model's outputs, as determined from its input example; None if unknown.
    outputs: list[OutputDescription] | None
    #: The current limit on the rows of a batch, and the median rows of recent batches.
    batch_size: int
    batch_rows: int | None
    #: 95th percentile of recent batches, from claim to answer, and of the model's part.
    batch_p95_ms: float | None
    predict_p95_ms: float | None
    #: The GPUs of its hosts; missing without any.
    gpus: NotRequired[list[str]]
    #: Why a missing host can't be started now, e.g. for want of memory or of a GPU; missing otherwise.
    waits_for: NotRequired[str]
    #: When a job began to wake it (s since the epoch), while it is loaded for waiting jobs; missing otherwise.
    woken_at: NotRequired[float]
    #: "candidate" for the hosts of a candidate (see `arms.Arm`); missing for others.
    arm: NotRequired[str]
    #: Warnings of the model's libraries about the versions that it was made with; missing in earlier releases.
    warnings: NotRequired[list[str]]
    #: The step of building the environment; missing unless it is being built.
    building: NotRequired[str]


class PaceReport(TypedDict):
    """A worker's pace at one endpoint: the time of a batch is linear in its jobs."""

    hosts: int
    #: The most jobs that share a batch, at the recent size of jobs.
    batch_jobs: float
    #: The fixed time of a batch, and the time of each job in it.
    fixed_ms: float
    job_ms: float
    #: The largest number of jobs in a batch for which this holds.
    known_jobs: float


class LoadFailure(TypedDict):
    """The error of a worker that failed to load the version and serves no other version of the endpoint."""

    revision: int
    error: str


class EndpointReport(TypedDict):
    """A worker's report on one endpoint."""

    versions: list[VersionReport]
    waiting: int
    running: int
    #: The pace of its hosts, measured over recent batches; None before the first.
    pace: PaceReport | None
    #: The same as one number, for an API of the release before `pace`, which replies 500 without it.
    jobs_per_s: NotRequired[float]
    #: Missing in reports of earlier releases.
    load_failure: NotRequired[LoadFailure | None]
    #: The error with which Redis refuses its commands, "" for none; missing in reports of earlier releases.
    trouble: NotRequired[str]
    #: The hosts that have jobs; missing in reports of earlier releases.
    busy_hosts: NotRequired[int]
    #: Whether the next worker in the ranking should serve it as well; missing in reports of earlier releases.
    asks_next: NotRequired[bool]


class MemoryReport(TypedDict):
    """The memory of a worker's model hosts, and what it costs that idle ones end."""

    #: What hosts and forkservers use, and what is kept for hosts.
    used_bytes: int
    #: None for no limit.
    budget_bytes: int | None
    #: Since the worker started: deployments that were put to sleep because others needed memory.
    evictions: int
    #: Since the worker started: loads for waiting jobs, and how long the last ones took (from a job's arrival).
    cold_starts: int
    cold_start_p50_ms: float | None
    cold_start_p95_ms: float | None


class GpuReport(TypedDict):
    """One GPU of a worker, and what is used of it."""

    id: str
    #: None where nvidia-smi doesn't show it.
    name: str | None
    memory_bytes: int | None
    #: By all processes, also of others.
    used_bytes: int | None
    #: The sum of the shares that hosts have.
    share: float


class WorkerReport(TypedDict):
    """The report of one worker."""

    worker: str
    worker_group: str
    pid: int
    started_at: float
    #: The process, as named in leases; missing in reports of earlier releases.
    holder: NotRequired[str]
    #: Its release of Queuecast; missing in reports of the releases that serve no candidates.
    release: NotRequired[str]
    #: The versions of Python and of the runtimes' libraries there; missing in reports of earlier releases.
    libraries: NotRequired[Mapping[str, str]]
    #: Missing in reports of earlier releases.
    memory: NotRequired[MemoryReport]
    #: Missing in reports of earlier releases, which give no GPU to a host.
    gpus: NotRequired[list[GpuReport]]
    #: Whether it serves deployments with a range of hosts only where it is placed; workers of earlier releases don't.
    follows_placement: NotRequired[bool]
    #: Whether it finishes its jobs and stops.
    is_leaving: NotRequired[bool]
    endpoints: Mapping[str, EndpointReport]


class SeenReport(WorkerReport):
    """A report with its age."""

    age_s: float


_WRITE = Lua("workers.measures", "write_report")


async def write(client: AsyncRedis, report: WorkerReport, served: Mapping[str, int] | None = None) -> list[str]:
    """Replace a worker's report, and record the served endpoints with their revisions.

    Returns the names of workers whose reports were removed, because their last report is too old.
    """
    arguments: list[str | bytes | int] = [report["worker"], fast_json.dumps_plain(report), _FORGET_AFTER_S]
    for endpoint_name, revision in (served or {}).items():
        arguments += [endpoint_name, revision]
    gone: list[bytes] = await script(client, _WRITE)([keys.WORKERS, keys.REPORTS, keys.SERVED], arguments)
    return [name.decode(errors="replace") for name in gone]


async def is_alive(client: AsyncRedis, worker_name: str, holder: str, within_s: float) -> bool:
    """Whether that process has written a report within so many seconds."""
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.zscore(keys.WORKERS, worker_name)
        pipeline.hget(keys.REPORTS, worker_name)
        (seconds, microseconds), at, report = await pipeline.execute()
    if at is None or report is None or seconds + microseconds / 1e6 - at > within_s:
        return False
    return bool(json.loads(report).get("holder") == holder)


async def remove(client: AsyncRedis, worker_name: str) -> None:
    """Remove the report of a stopping worker."""
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.zrem(keys.WORKERS, worker_name)
        pipeline.hdel(keys.REPORTS, worker_name)
        await pipeline.execute()


def queue_reads(pipeline: redis.client.Pipeline | AsyncPipeline) -> None:
    """Queue the reads of all reports on a pipeline: 3 commands."""
    pipeline.time()
    pipeline.zrange(keys.WORKERS, 0, -1, withscores=True)
    pipeline.hgetall(keys.REPORTS)


def parse(replies: list[Any]) -> list[SeenReport]:
    """Parse the replies to `queue_reads` into the reports of live workers, sorted by name."""
    found = [{**fast_json.loads(report), "age_s": round(age_s, 1)} for _, report, age_s in _live(replies)]
    return cast("list[SeenReport]", found)


def live_reports(replies: list[Any]) -> list[bytes]:
    """Return the reports of live workers from the replies to `queue_reads`, sorted by name, as JSON."""
    return [report for _, report, _ in _live(replies)]


def live_by_name(replies: list[Any]) -> dict[str, bytes]:
    """Return the reports of live workers from the replies to `queue_reads` by the worker's name, as JSON."""
    return {name.decode(errors="replace"): report for name, report, _ in _live(replies)}


def _live(replies: list[Any]) -> list[tuple[bytes, bytes, float]]:
    (seconds, microseconds), written_at, reports = replies
    now = seconds + microseconds / 1e6
    by_age_s = [(name, reports[name], now - at) for name, at in sorted(written_at) if name in reports]
    return [(name, report, age_s) for name, report, age_s in by_age_s if age_s <= REPORT_LIFE_S]
