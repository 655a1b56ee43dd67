"""One worker's engine: its thread, its event loop, its tasks, and its shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from importlib.util import find_spec
from typing import Any

import redis.asyncio
from redis import RedisError

from registry import deployments, runtimes
from registry.artifacts.cache import ArtifactCache
from registry.artifacts.store import ArtifactStore
from registry.database import default_database
from registry.deployments import DesiredDeployment
from registry.environments import environment
from registry.environments.cache import EnvironmentCache
from registry.environments.environment import Environment
from registry.judging import evaluations
from registry.settings import load as registry_settings
from workers import keys
from workers.engine.context import Context
from workers.engine.environments import Environments
from workers.engine.gpus import devices, nvidia_smi
from workers.engine.gpus.shares import GpuClaim, GpuShares
from workers.engine.intake.listener import QueueListener
from workers.engine.intake.protocol import Intake
from workers.engine.intake.redis import RedisIntake
from workers.engine.memory.budget import MemoryBudget
from workers.engine.memory.limit import MARGIN_SHARE, limit_bytes
from workers.engine.memory.meter import MemoryMeter
from workers.engine.placement.placement import Placement
from workers.engine.reconciler import Reconciler
from workers.engine.reporter import Reporter
from workers.engine.scaling.scaler import Scaler
from workers.engine.serving.cancellation import Cancellation
from workers.engine.serving.endpoint import Endpoint
from workers.engine.supervision import cancelled, supervised
from workers.engine.telemetry.celery_events import CeleryEventBuffer
from workers.engine.telemetry.counters import EngineCounters
from workers.engine.upkeep.minutes import MinuteKeeper
from workers.engine.upkeep.releasing import Release, Releaser
from workers.engine.upkeep.sweeper import Sweeper
from workers.errors import JobNotCancellable, JobNotFound, JobUnreadable, SettingsWrong
from workers.hosts import processes
from workers.hosts.worker_side.launcher import HostLauncher
from workers.jobs import transitions
from workers.measures import reports
from workers.pipelines import submitting
from workers.pipelines.mover import PipelineMover
from workers.platform.loops import event_loops
from workers.platform.redis.async_client import connect
from workers.platform.release import release as this_release
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)

#: Time limit of the last writes when the worker stops; jobs without a record run again elsewhere.
_LAST_WRITES_S = 5.0
#: Time limit of the notice that the worker stops.
_NOTICE_S = 1.0


def _listen(records: redis.asyncio.Redis, channel: str, nudge: Callable[..., None]) -> Callable[[], Awaitable[None]]:
    return QueueListener(records, [channel], nudge, nudge).run


class Engine:
    """Serves the deployments of one worker group until it is closed; `start` and `close` may block.

    Raises:
        SettingsWrong: a package for the broker is not installed, or QUEUECAST_GPUS names a GPU that isn't there.
    """

    def __init__(
        self,
        worker_name: str,
        settings: WorkerSettings,
        event_buffer: CeleryEventBuffer,
        is_revoked: Callable[[str], bool],
    ) -> None:
        if settings.broker_is_amqp and find_spec("aiormq") is None:
            raise SettingsWrong("A RabbitMQ broker requires more packages: pip install 'queuecast[rabbitmq]'.")
        self.endpoints: dict[str, Endpoint] = {}
        self.counters = EngineCounters(worker_name)
        self._worker_name = worker_name
        self._settings = settings
        self._event_buffer = event_buffer
        self._is_revoked = is_revoked
        self._started_at = time.time()
        self._libraries = runtimes.libraries_here()
        self._thread = threading.Thread(target=self._main, name="queuecast-engine", daemon=True)
        self._running = threading.Event()
        self._loop_factory = event_loops.factory(settings.event_loop)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._hurried: asyncio.Event | None = None
        self._budget: MemoryBudget | None = None
        look = nvidia_smi.look() if settings.gpus != devices.NONE and nvidia_smi.is_there() else None
        gpus = devices.of_worker(settings.gpus, os.environ, look)
        self._gpus = GpuShares(gpus, lambda: list(self.endpoints.values()))
        if look is not None:
            self._gpus.measured(look)
        #: The deployments as they were read last.
        self._known: list[DesiredDeployment] = []

    def start(self) -> None:
        """Start serving; return when the event loop runs."""
        self._thread.start()
        self._running.wait()

    def served(self) -> dict[str, str]:
        """Return the endpoints of this worker with their desired versions; any thread may call it."""
        return {name: endpoint.desired.version for name, endpoint in list(self.endpoints.items())}

    def placed(self) -> set[str]:
        """Return those endpoints that this worker serves, not others of its group; any thread may call it."""
        return {name for name, endpoint in list(self.endpoints.items()) if endpoint.is_placed}

    def memory(self) -> reports.MemoryReport | None:
        """Return what the model hosts use; None before the start. Any thread may call it."""
        budget = self._budget
        if budget is None:
            return None
        p50_s, p95_s = self.counters.cold_start_s(0.5), self.counters.cold_start_s(0.95)
        return {
            "used_bytes": budget.used_bytes,
            "budget_bytes": budget.limit_bytes,
            "evictions": budget.evictions,
            "cold_starts": self.counters.cold_starts,
            "cold_start_p50_ms": None if p50_s is None else round(p50_s * 1000, 1),
            "cold_start_p95_ms": None if p95_s is None else round(p95_s * 1000, 1),
        }

    def gpus(self) -> list[reports.GpuReport]:
        """Return the GPUs and what is used of them; any thread may call it."""
        shares = self._gpus
        return [
            {
                "id": gpu.id,
                "name": gpu.name,
                "memory_bytes": gpu.memory_bytes,
                "used_bytes": shares.used_bytes(gpu),
                "share": shares.share_of(gpu),
            }
            for gpu in shares.gpus
        ]

    def close(self) -> None:
        """Finish running jobs within `shutdown_grace_s`, give back the rest, and stop the hosts."""
        loop, closing = self._loop, self._closing
        if loop is not None and closing is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(closing.set)
        self._thread.join()

    def hurry(self) -> None:
        """Close without finishing running jobs; safe in a signal handler."""
        if self._loop is not None and self._hurried is not None:
            self._loop.call_soon_threadsafe(self._hurried.set)

    def revoke(self, job_ids: Iterable[str], *, force: bool) -> None:
        """Cancel jobs on behalf of remote control, which asks every worker; called on Celery's thread."""
        for job_id in job_ids:
            try:
                submitting.cancel(job_id, force=force)
            except (JobNotFound, JobUnreadable, JobNotCancellable) as error:
                _log.info("not revoked: %s", error)  # another worker was faster, or the job has ended

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._serve())
        except Exception:  # noqa: BLE001 - the last chance of this thread to log an error
            _log.critical("the engine has ended: this worker no longer serves", exc_info=True)
        finally:
            self._running.set()

    async def _serve(self) -> None:
        self._loop, self._closing, self._hurried = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        records = connect(self._settings.redis_url)
        context = self._context(records)
        context.launcher.start_spare()
        intake = context.intake
        release = Release(records, intake.source, beside_records=self._settings.queues_beside_records)
        placement = Placement(context, self.endpoints)
        reconciler = Reconciler(context, release, self.endpoints, self._desired, placement)
        cancellation = Cancellation(records, self.endpoints)
        fetching = asyncio.create_task(supervised("fetching messages", intake.run))
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "listening for messages": intake.listen,
            "renewing leases": intake.renew,
            "listening for deploys": _listen(records, keys.NUDGE_CHANNEL, reconciler.nudge),
            "listening for cancellations": _listen(records, keys.CANCEL_CHANNEL, cancellation.nudge),
            "reconciling deployments": reconciler.run,
            "cancelling jobs": cancellation.run,
            "measuring memory": self._memory_meter(context).run,
            "measuring GPUs": context.gpus.run,
            "placing endpoints": placement.run,
            "scaling": Scaler(context, self.endpoints).run,
            "sweeping": Sweeper(records, intake.source, self._settings).run,
            "releasing delayed jobs": Releaser(release, self.endpoints, context.trouble).run,
            "keeping figures of minutes": MinuteKeeper().run,
            "advancing pipelines": lambda: PipelineMover().run_on_loop(records),
            "reporting": self._reporter(context).run,
        }
        tasks = [asyncio.create_task(supervised(what, job)) for what, job in jobs.items()]
        self._running.set()
        await self._closing.wait()
        await cancelled(tasks)
        await intake.close()
        await asyncio.wait([fetching])
        await self._wind_up(context)
        await intake.disconnect()
        await records.aclose()

    def _intake(self, records: redis.asyncio.Redis) -> Intake:
        if self._settings.broker_is_amqp:
            # aiormq is an optional package.
            from workers.engine.intake.rabbitmq import AmqpIntake

            return AmqpIntake(records, self.endpoints, self._settings, self._worker_name)
        settings = self._settings
        other_records = None if settings.queues_beside_records else records
        return RedisIntake(
            connect(settings.queue_url),
            self.endpoints,
            settings.lease_s,
            records=other_records,
            worker_name=self._worker_name,
        )

    def _context(self, records: redis.asyncio.Redis) -> Context:
        registry = registry_settings()
        store = ArtifactStore(registry.artifacts_url)
        most_bytes = limit_bytes(self._settings.worker_memory_mb)
        margin_bytes = int((most_bytes or 0) * MARGIN_SHARE)
        self._budget = MemoryBudget(most_bytes, margin_bytes, lambda: list(self.endpoints.values()))
        context = Context(
            worker_name=self._worker_name,
            settings=self._settings,
            records=records,
            intake=self._intake(records),
            event_buffer=self._event_buffer,
            launcher=HostLauncher(self._settings.host_threads),
            artifacts=ArtifactCache(registry.artifact_cache_dir, store, registry.artifact_cache_max_bytes),
            environments=Environments(EnvironmentCache(registry), self._environment),
            is_revoked=self._is_revoked,
            counters=self.counters,
            memory=self._budget,
            measure_memory=processes.memory_usage,
            gpus=self._gpus,
        )

        def remember(claim: GpuClaim) -> None:
            context.in_background(context.versions.measured_gpu(claim.artifact_sha256, claim.used_bytes or 0))

        self._gpus.on_measured = remember
        return context

    @staticmethod
    def _memory_meter(context: Context) -> MemoryMeter:
        pids = lambda: context.launcher.forkserver_pids  # noqa: E731 - read at each measurement
        measures = processes.memory_usage, processes.own_memory_usage
        return MemoryMeter(context.memory, context.versions, *measures, pids, processes.page_faults)

    def _reporter(self, context: Context) -> Reporter:
        return Reporter(context, self.endpoints, lambda: self._report(context.intake.holder))

    def _desired(self) -> list[DesiredDeployment]:
        with default_database().session() as session:
            replays = evaluations.desired(session, self._settings.worker_group)
            self._known = deployments.desired(session, self._settings.worker_group, self._known)
            return [*self._known, *replays]

    @staticmethod
    def _environment(sha256: str) -> Environment:
        with default_database().session() as session:
            return environment.get(session, sha256)

    def _report(self, holder: str) -> reports.WorkerReport:
        """Return this worker's report without its endpoints."""
        memory = self.memory()
        report: reports.WorkerReport = {
            "worker": self._worker_name,
            "worker_group": self._settings.worker_group,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "holder": holder,
            "release": this_release(),
            "libraries": self._libraries,
            "follows_placement": True,
            "is_leaving": self._closing is not None and self._closing.is_set(),
            "gpus": self.gpus(),
            "endpoints": {},
        }
        return report if memory is None else {**report, "memory": memory}

    async def _wind_up(self, context: Context) -> None:
        """Finish jobs, give back the rest, remove the report: in this order, each within its time limit."""
        endpoints = list(self.endpoints.values())
        for endpoint in endpoints:
            endpoint.retire()
        context.in_background(self._announce_leaving(context))
        await self._finish(endpoints)
        running = [job for endpoint in endpoints for job in endpoint.running_jobs]
        if running:
            _log.warning("returning %d running jobs to their queues", len(running))
        for endpoint in endpoints:
            endpoint.kill()
        try:
            async with asyncio.timeout(_LAST_WRITES_S):
                await context.settle()
                await transitions.requeue(context.records, self._worker_name, running)
                await context.intake.give_back(context.intake.held)
                await reports.remove(context.records, self._worker_name)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("some jobs stay leased until the leases of this worker expire: %r", error)
        await asyncio.to_thread(context.environments.close)
        await asyncio.to_thread(context.launcher.close)

    async def _announce_leaving(self, context: Context) -> None:
        """Let other workers take over the endpoints now, while jobs are finished here."""
        try:
            async with asyncio.timeout(_NOTICE_S):
                await self._reporter(context).write()
                await context.records.publish(keys.NUDGE_CHANNEL, "leaving")
        except (RedisError, OSError, TimeoutError) as error:
            _log.info("announcing that this worker stops failed (%r): others take over when its report expires", error)

    async def _finish(self, endpoints: list[Endpoint]) -> None:
        """Let running jobs finish, within the grace period and until `hurry` is called."""
        assert self._hurried is not None  # noqa: S101 - `_serve` has created it
        stopping = asyncio.gather(*(endpoint.stop() for endpoint in endpoints))
        hurried = asyncio.create_task(self._hurried.wait())
        either: list[asyncio.Future[Any]] = [stopping, hurried]
        await asyncio.wait(either, timeout=self._settings.shutdown_grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
