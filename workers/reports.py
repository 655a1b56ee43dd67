"""What workers report of themselves: the shape, how it is written, and which reports still count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NotRequired, TypedDict, cast

import redis
from redis.asyncio import Redis as AsyncRedis

from registry.output_columns import OutputDescription
from workers import keys
from workers.redis_client import EVEN_IF_FULL, script

#: A worker writes its report at every change, and this often without one.
REPORT_INTERVAL_S = 4.0
#: A worker that has been silent for this long counts as gone.
REPORT_LIFE_S = 15.0
#: Reports of workers that are long gone are removed by those that live.
_FORGET_AFTER_S = 3_600


class HostsState(StrEnum):
    """How far the hosts of one version on one worker are."""

    #: The artifact is being fetched, or the model loaded and warmed up.
    LOADING = "loading"
    #: It takes jobs.
    READY = "ready"
    #: It could not be loaded; `error` says why.
    FAILED = "failed"
    #: It finishes what it has and stops.
    STOPPING = "stopping"


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
    load_ms: float | None
    #: What the model answers, as its input example shows; None if that is unknown.
    outputs: list[OutputDescription] | None
    #: The most rows of a batch right now, and the median of the last ones.
    batch_size: int
    batch_rows: int | None
    #: How long 95 % of the last batches took at most, from claim to answer, and the model alone.
    batch_p95_ms: float | None
    predict_p95_ms: float | None


class PaceReport(TypedDict):
    """What a worker reports of its pace at one endpoint: the time of a batch over the jobs in it is a line."""

    hosts: int
    #: The most jobs that share a batch, as large as they were lately.
    batch_jobs: float
    #: What a batch takes, and each job in it on top.
    fixed_ms: float
    job_ms: float
    #: Up to how many jobs in a batch this is known.
    known_jobs: float


class EndpointReport(TypedDict):
    """What a worker has for one endpoint."""

    versions: list[VersionReport]
    waiting: int
    running: int
    #: How fast its hosts are, as measured over the last batches; None if nothing is known yet.
    pace: PaceReport | None
    #: The same in one number, for an API of the release before `pace`, which answers 500 without it.
    jobs_per_s: NotRequired[float]


class WorkerReport(TypedDict):
    """One worker."""

    worker: str
    worker_group: str
    pid: int
    started_at: float
    endpoints: Mapping[str, EndpointReport]


class SeenReport(WorkerReport):
    """The same with how long ago it was written."""

    age_s: float


#: KEYS: workers, reports. ARGV: worker, report, age in seconds at which others are forgotten.
_WRITE = (
    EVEN_IF_FULL
    + """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('HDEL', KEYS[2], unpack(gone))
end
"""
)


async def write(client: AsyncRedis, report: WorkerReport) -> None:
    """Write a worker's report over its last one."""
    arguments: list[str | int] = [report["worker"], json.dumps(report), _FORGET_AFTER_S]
    await script(client, _WRITE)([keys.WORKERS, keys.REPORTS], arguments)


async def remove(client: AsyncRedis, worker_name: str) -> None:
    """Remove the report of a worker that stops."""
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.zrem(keys.WORKERS, worker_name)
        pipeline.hdel(keys.REPORTS, worker_name)
        await pipeline.execute()


def ask(pipeline: redis.client.Pipeline) -> None:
    """Queue the reads of all reports on a pipeline: 3 commands."""
    pipeline.time()
    pipeline.zrange(keys.WORKERS, 0, -1, withscores=True)
    pipeline.hgetall(keys.REPORTS)


def understand(answers: list[Any]) -> list[SeenReport]:
    """Turn the answers to `ask` into the reports of the workers that live, by name."""
    found = [{**json.loads(report), "age_s": round(age_s, 1)} for report, age_s in _living(answers)]
    return cast("list[SeenReport]", found)


def alive(answers: list[Any]) -> list[bytes]:
    """Turn the answers to `ask` into the reports of the workers that live, by name, as they were written."""
    return [report for report, _ in _living(answers)]


def _living(answers: list[Any]) -> list[tuple[bytes, float]]:
    (seconds, microseconds), written_at, reports = answers
    now = seconds + microseconds / 1e6
    by_age_s = [(reports[name], now - at) for name, at in sorted(written_at) if name in reports]
    return [(report, age_s) for report, age_s in by_age_s if age_s <= REPORT_LIFE_S]
