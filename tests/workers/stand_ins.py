"""Deployments, reports and parts of an engine for tests, without a registry or a worker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from kombu.clocks import LamportClock
from msgspec import Raw
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment, Intent
from registry.serving.settings import ServingSettings
from registry.signatures.signature import Signature
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.telemetry.celery_events import CeleryEventBuffer
from workers.engine.telemetry.counters import EngineCounters
from workers.measures.reports import EndpointReport, HostsState, PaceReport, VersionReport, WorkerReport
from workers.queues.priorities import Priority
from workers.settings import load

_LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


def deployment(
    endpoint_name: str = "adding",
    *,
    intent: Intent = Intent.SERVE,
    revision: int = 1,
    version: str = "1",
    worker_group: str = "default",
    **settings: Any,
) -> DesiredDeployment:
    """A deployment, as the registry returns it."""
    return DesiredDeployment(
        endpoint_name=endpoint_name,
        model_name="adder",
        version=version,
        runtime="python",
        runtime_options={},
        artifact_sha256="0" * 64,
        artifact_size_bytes=1,
        signature=Signature.parse({"kind": "scalar", "dtype": "float"}),
        input_example=1.0,
        settings=ServingSettings.parse(settings),
        worker_group=worker_group,
        intent=intent,
        revision=revision,
        deployed_at=_LONG_AGO,
        updated_at=_LONG_AGO,
    )


def version_report(state: HostsState, *, revision: int = 1, **more: Any) -> VersionReport:
    """A worker's report on one version; its number is the revision."""
    ready = int(state is HostsState.READY)
    report: VersionReport = {
        "model_name": "adder",
        "version": str(revision),
        "revision": revision,
        "state": state,
        "error": None,
        "hosts": ready,
        "hosts_wanted": 1,
        "pids": [4_711] * ready,
        "memory_bytes": 0,
        "load_ms": None,
        "outputs": None,
        "batch_size": 64,
        "batch_rows": None,
        "batch_p95_ms": None,
        "predict_p95_ms": None,
    }
    return {**report, **more}  # type: ignore[typeddict-item]


def pace_report(hosts: int = 1, **more: float) -> PaceReport:
    """How fast hosts are that take a second for one job, and another for the next."""
    return {"hosts": hosts, "batch_jobs": 1.0, "fixed_ms": 1_000.0, "job_ms": 0.0, "known_jobs": 64.0, **more}  # type: ignore[typeddict-item]


def endpoint_report(*versions: VersionReport, waiting: int = 0, pace: PaceReport | None = None) -> EndpointReport:
    """A worker's report on one endpoint."""
    return {"versions": list(versions), "waiting": waiting, "running": 0, "pace": pace}


def worker_report(
    worker: str = "w@1", worker_group: str = "default", endpoints: Mapping[str, EndpointReport] | None = None
) -> WorkerReport:
    """A worker's report."""
    return {
        "worker": worker,
        "worker_group": worker_group,
        "pid": os.getpid(),
        "started_at": 1.0,
        "endpoints": endpoints or {},
    }


class RecordingIntake:
    """Records acknowledged and returned jobs; holds none."""

    leases_are_beside_records = False
    holder = "me"

    def __init__(self) -> None:
        self.acked: list[str] = []
        self.given_back: list[str] = []
        self.rung: list[str] = []
        self.dropped: list[str] = []
        self.queued: dict[str, int] = {}
        self.source = None
        #: Tags that other workers hold.
        self.leased: set[str] = set()

    @property
    def held(self) -> list[str]:
        return []

    def ring(self, endpoint_name: str) -> None:
        self.rung.append(endpoint_name)

    def made_room(self, endpoint_name: str) -> None:
        self.rung.append(endpoint_name)

    async def is_leased(self, tag: str) -> bool:
        return tag in self.leased

    async def forget_workers(self, names: Sequence[str]) -> None:
        raise NotImplementedError

    def keeps(self, job: QueuedJob) -> bool:
        return True

    def let_go(self, tags: Iterable[str]) -> None:
        self.acked += tags

    @contextmanager
    def ending(self, tags: Sequence[str]) -> Iterator[None]:
        yield
        self.acked += tags

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        self.acked += [job.job_id for job in jobs]

    async def give_back(self, tags: list[str]) -> None:
        self.given_back += tags

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        return {name: self.queued.get(name, 0) for name in endpoint_names}

    async def drop_queues(self, endpoint_name: str) -> bool:
        self.dropped.append(endpoint_name)
        return not self.queued.get(endpoint_name)


class RecordingDispatcher:
    """Records the events that Celery would send."""

    enabled = True
    hostname = "w@1"
    pid = 7
    producer: Any = "connected"

    def __init__(self) -> None:
        self.groups: set[str] = set()
        self.clock: Any = LamportClock()
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def publish(self, type: str, fields: dict[str, Any], producer: Any, **options: Any) -> None:  # noqa: A002 - Celery's
        assert (type, fields, producer) == ("task-multi", {}, "connected")
        self.sent += [(each["type"], each) for each in options["Event"](type)]

    def flush(self) -> None:
        """Have nothing left from before."""


def context(records: Redis, worker_name: str = "w@1", intake: Any = None) -> Context:
    """The context of an engine without hosts."""
    chosen: Any = RecordingIntake() if intake is None else intake
    return Context(
        worker_name=worker_name,
        settings=load(),
        records=records,
        intake=chosen,
        event_buffer=CeleryEventBuffer(),
        launcher=None,  # type: ignore[arg-type]
        artifacts=None,  # type: ignore[arg-type]
        environments=None,  # type: ignore[arg-type]
        is_revoked=lambda _job_id: False,
        counters=EngineCounters(worker_name),
    )


def events(context: Context) -> list[tuple[str, str]]:
    """The events that are on their way: type and job id."""
    dispatcher = RecordingDispatcher()
    context.event_buffer.flush(dispatcher)
    return [(type_, fields["uuid"]) for type_, fields in dispatcher.sent]


def queued_job(job_id: str = "job", rows: int = 1, *, alone: bool = False, **more: Any) -> QueuedJob:
    """A job as an engine holds it."""
    return QueuedJob(
        tag=job_id,
        job_id=job_id,
        endpoint_name="adding",
        message=b"as it stood in the queue",
        rows=[Raw(b"1.0")] * rows,
        many=rows > 1,
        submitted_at=more.pop("submitted_at", 1_000.0),
        not_before=None,
        expires_at=more.pop("expires_at", None),
        priority=more.pop("priority", Priority.NORMAL),
        event_fields={"uuid": job_id},
        alone=alone,
        **more,
    )
