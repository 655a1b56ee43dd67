"""Plays a worker: writes into Redis what one would write, when the test says so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from registry.signatures.output_columns import description_of
from workers import keys
from workers.errors import PoisonJob, PredictionFailed
from workers.jobs import dead_letters, records, transitions
from workers.jobs.dead_letters import DeadLetter
from workers.jobs.job import Failure, Job
from workers.jobs.transitions import Claim, Finish
from workers.measures import counters, paces, reports
from workers.measures.reports import EndpointReport, GpuReport, HostsState, PaceReport, VersionReport

NAME = "stand-in@here"
LOAD_MS = 12.5


def pace(jobs_per_s: float, hosts: int = 1) -> PaceReport:
    """The pace of hosts that take one job after the other."""
    fixed_ms = 1000 * hosts / jobs_per_s
    return {"hosts": hosts, "batch_jobs": 1.0, "fixed_ms": fixed_ms, "job_ms": 0.0, "known_jobs": 1.0}


class StandInWorker:
    """One worker of the default group."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._endpoints: dict[str, EndpointReport] = {}
        self._served: dict[str, int] = {}
        #: Its GPUs, from the next report on.
        self.gpus: list[GpuReport] = []

    def start(self, job_id: str, endpoint_name: str) -> None:
        """Take a job: it is running now."""
        now = time.time()
        record = records.started(Job(job_id, endpoint_name, now), now, attempts=1, worker=NAME)
        self._do(lambda redis: transitions.claim(redis, endpoint_name, [Claim(job_id, record, now)]))

    def succeed(self, job_id: str, endpoint_name: str, prediction: Any, *, many: bool = False) -> None:
        """End a job with an outcome."""
        now = time.time()
        outcome = {
            "predictions" if many else "prediction": prediction,
            "endpoint_name": endpoint_name,
            "model_name": "adder",
            "version": "1",
            "worker": NAME,
            "batch_size": 1,
            "timing": {"queued_ms": 1.5, "predict_ms": 0.5, "total_ms": 2.0},
            "attempts": 1,
        }
        job = Job(job_id, endpoint_name, now - 0.002, attempts=1)
        record = records.succeeded(job, json.dumps(outcome).encode(), now - 0.001, now)
        self._finish(endpoint_name, Finish(job_id, record, counters.Kind.SUCCEEDED, 2.0))

    def fail(
        self,
        job_id: str,
        endpoint_name: str,
        message: str,
        *,
        traceback: str = "",
        owner: str | None = None,
        keeps_input: bool = False,
    ) -> None:
        """End a job with an error."""
        now, letter = time.time(), b""
        if keeps_input:
            sent = self._do(lambda redis: redis.get(keys.message(job_id)))
            kept = DeadLetter(job_id, endpoint_name, sent, (), now - 1, now, dead_letters.Kind.FAILED, message)
            letter = dead_letters.stored(kept)
        job = Job(job_id, endpoint_name, now - 0.002, owner=owner, attempts=1)
        record = records.failed(job, PredictionFailed(message), now, traceback=traceback)
        self._finish(endpoint_name, Finish(job_id, record, counters.Kind.FAILED, 2.0, letter=letter))

    def expire(self, job_id: str, endpoint_name: str) -> None:
        """End a job whose time is over."""
        now = time.time()
        record = records.revoked(Job(job_id, endpoint_name, now - 10), records.EXPIRED, now)
        self._finish(endpoint_name, Finish(job_id, record, counters.Kind.WITHDRAWN, None))

    def give_up(self, job_id: str, endpoint_name: str, reason: str) -> None:
        """End a job as poison: it is a dead letter now."""
        now = time.time()
        failures = [Failure(attempt=1, worker=NAME, at=now, reason=reason)]

        message = self._do(lambda redis: redis.get(keys.message(job_id)))
        self.keep(DeadLetter(job_id, endpoint_name, message, failures, now - 1, now))
        job = Job(job_id, endpoint_name, now - 1, attempts=1, failures=failures)
        record = records.failed(job, PoisonJob(reason), now)
        self._finish(endpoint_name, Finish(job_id, record, counters.Kind.FAILED, 1_000.0))

    def keep(self, letter: DeadLetter) -> None:
        """Put a dead letter into the store."""
        self._do(lambda redis: dead_letters.keep(redis, [letter]))

    def report(
        self,
        view: dict[str, Any],
        state: HostsState = HostsState.READY,
        error: str | None = None,
        jobs_per_s: float = 100.0,
        **more: Any,
    ) -> None:
        """Report what it has for a deployment, given as the API shows it; `more` are optional fields of the report."""
        ready = int(state is HostsState.READY)
        version: VersionReport = {
            "model_name": view["model_name"],
            "version": view["version"],
            "revision": view["revision"],
            "state": state,
            "error": error,
            "hosts": ready,
            "hosts_wanted": 1,
            "pids": [4_711] * ready,
            "memory_bytes": 50_000_000 * ready,
            "batch_size": 64,
            "batch_rows": None,
            "batch_p95_ms": None,
            "predict_p95_ms": None,
            "load_ms": LOAD_MS if ready else None,
            "outputs": description_of(3.5) if ready else None,
        }
        self._endpoints[view["endpoint_name"]] = {
            "versions": [{**version, **more}],  # type: ignore[typeddict-item]
            "waiting": 0,
            "running": 0,
            "pace": pace(jobs_per_s) if ready else None,
            "load_failure": {"revision": view["revision"], "error": error} if error is not None and not ready else None,
        }
        self._served = {view["endpoint_name"]: view["revision"]} if ready else {}
        self._write_report()

    def drop(self, endpoint_name: str) -> None:
        """Report that it has let go of an endpoint."""
        self._endpoints.pop(endpoint_name, None)
        self._served.pop(endpoint_name, None)
        self._write_report()

    def _write_report(self) -> None:
        report: reports.WorkerReport = {
            "worker": NAME,
            "worker_group": "default",
            "pid": 4_710,
            "started_at": time.time(),
            "gpus": self.gpus,
            "endpoints": self._endpoints,
        }
        self._do(lambda redis: reports.write(redis, report, self._served))
        paces.default_paces.cache_clear()  # the API would see it a second later

    def _finish(self, endpoint_name: str, finish: Finish) -> None:
        written = self._do(lambda redis: transitions.finish(redis, endpoint_name, [finish], time.time(), None))
        assert written == [True]

    def _do(self, what: Callable[[Redis], Awaitable[Any]]) -> Any:
        async def done() -> Any:
            async with Redis.from_url(self._redis_url) as redis:
                return await what(redis)

        return asyncio.run(done())
