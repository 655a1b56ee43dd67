"""One worker's engine: its thread, its event loop, what runs on it, and how all of it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import redis.asyncio
from redis import RedisError

from registry import deployments
from registry.artifacts import ArtifactCache, ArtifactStore
from registry.database import default_database
from registry.deployments import DesiredDeployment
from registry.settings import load as registry_settings
from workers import jobs, keys, reports
from workers.engine import outcomes
from workers.engine.cancellation import Cancellation
from workers.engine.context import Context, cancelled
from workers.engine.endpoint import Endpoint
from workers.engine.events import Outbox
from workers.engine.intake import RedisIntake
from workers.engine.listener import Listener
from workers.engine.measures import Measures
from workers.engine.reconciler import Reconciler
from workers.engine.redis_connection import connect
from workers.engine.sweeper import Sweeper
from workers.engine.taking import Intake
from workers.errors import JobNotCancellable, JobNotFound, SettingsWrong
from workers.hosts.launcher import HostLauncher
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)

#: How long the last writes may take when the worker stops; what isn't written runs again elsewhere.
_LAST_WRITES_S = 5.0
#: Changes that come together are reported together.
_REPORT_DELAY_S = 0.02
#: How often it is reported how many jobs there are, as long as there are any: what waits is a part of a queue's depth.
_BUSY_REPORT_INTERVAL_S = 1.0


class Engine:
    """Serves the deployments of one worker group until it is closed; `start` and `close` may block.

    Raises:
        SettingsWrong: what the broker needs is not installed.
    """

    def __init__(
        self, worker_name: str, settings: WorkerSettings, outbox: Outbox, is_revoked: Callable[[str], bool]
    ) -> None:
        if settings.broker_is_amqp and find_spec("aiormq") is None:
            raise SettingsWrong("RabbitMQ as a broker needs more packages: pip install 'queuecast[rabbitmq]'.")
        self.endpoints: dict[str, Endpoint] = {}
        self.measures = Measures(worker_name)
        self._worker_name = worker_name
        self._settings = settings
        self._outbox = outbox
        self._is_revoked = is_revoked
        self._started_at = time.time()
        self._thread = threading.Thread(target=self._main, name="queuecast-engine", daemon=True)
        self._running = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._hurried: asyncio.Event | None = None

    def start(self) -> None:
        """Begin to serve; returns once the event loop runs."""
        self._thread.start()
        self._running.wait()

    def served(self) -> dict[str, str]:
        """Return the endpoints that this worker has, and the version that each should have; any thread may ask."""
        return {name: endpoint.desired.version for name, endpoint in list(self.endpoints.items())}

    def close(self) -> None:
        """Finish what runs within `shutdown_grace_s`, give back the rest, end the hosts."""
        loop, closing = self._loop, self._closing
        if loop is not None and closing is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(closing.set)
        self._thread.join()

    def hurry(self) -> None:
        """Close without finishing what runs; safe in a signal handler."""
        if self._loop is not None and self._hurried is not None:
            self._loop.call_soon_threadsafe(self._hurried.set)

    def revoke(self, job_ids: Iterable[str], *, force: bool) -> None:
        """Cancel jobs, as remote control asks every worker to; called on Celery's thread."""
        for job_id in job_ids:
            try:
                jobs.cancel(job_id, force=force)
            except (JobNotFound, JobNotCancellable) as error:
                _log.info("not revoked: %s", error)  # another worker was faster, or it has ended

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # noqa: BLE001 - the last place where this thread can say anything
            _log.critical("the engine has ended: this worker serves nothing any more", exc_info=True)
        finally:
            self._running.set()

    async def _serve(self) -> None:
        self._loop, self._closing, self._hurried = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        records = connect(self._settings.redis_url)
        context = self._context(records)
        context.launcher.warm_up()
        reconciler = Reconciler(context, self.endpoints, self._desired)
        cancellation = Cancellation(records, self.endpoints)
        intake = context.intake
        fetching = asyncio.create_task(intake.run())
        tasks = [
            asyncio.create_task(work)
            for work in (
                intake.listen(),
                intake.renew(),
                Listener(records, [keys.NUDGE_CHANNEL], reconciler.nudge, reconciler.nudge).run(),
                Listener(records, [keys.CANCEL_CHANNEL], cancellation.nudge, cancellation.nudge).run(),
                reconciler.run(),
                cancellation.run(),
                Sweeper(records, intake.source, self._settings).run(),
                self._report(context),
            )
        ]
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
            # Its library is an extra.
            from workers.engine.amqp_intake import AmqpIntake

            return AmqpIntake(records, self.endpoints, self._settings, self._worker_name)
        settings = self._settings
        beside = settings.queues_beside_records
        return RedisIntake(connect(settings.queue_url), self.endpoints, settings.lease_s, beside_records=beside)

    def _context(self, records: redis.asyncio.Redis) -> Context:
        where = registry_settings()
        return Context(
            worker_name=self._worker_name,
            settings=self._settings,
            records=records,
            intake=self._intake(records),
            outbox=self._outbox,
            launcher=HostLauncher(self._settings.host_threads),
            artifacts=ArtifactCache(where.artifact_cache_dir, ArtifactStore(where.artifacts_url)),
            is_revoked=self._is_revoked,
            measures=self.measures,
        )

    def _desired(self) -> list[DesiredDeployment]:
        with default_database().session() as session:
            return deployments.desired(session, self._settings.worker_group)

    async def _report(self, context: Context) -> None:
        """Write this worker's report at every change, and regularly without one."""
        while True:
            context.changed.clear()
            report = self._observed()
            try:
                await reports.write(context.records, report)
            except (RedisError, OSError) as error:
                _log.warning("can't report: %s", error)
            is_busy = any(each["waiting"] or each["running"] for each in report["endpoints"].values())
            try:
                async with asyncio.timeout(_BUSY_REPORT_INTERVAL_S if is_busy else reports.REPORT_INTERVAL_S):
                    await context.changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_REPORT_DELAY_S)

    def _observed(self) -> reports.WorkerReport:
        return {
            "worker": self._worker_name,
            "worker_group": self._settings.worker_group,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "endpoints": {name: endpoint.report() for name, endpoint in self.endpoints.items()},
        }

    async def _wind_up(self, context: Context) -> None:
        """Finish, give back, report: in this order, and each within its time."""
        endpoints = list(self.endpoints.values())
        for endpoint in endpoints:
            endpoint.retire()
        await self._finish(endpoints)
        running = [job for endpoint in endpoints for job in endpoint.running_jobs]
        if running:
            _log.warning("%d jobs that still run go back to their queues", len(running))
        for endpoint in endpoints:
            endpoint.kill()
        try:
            async with asyncio.timeout(_LAST_WRITES_S):
                await context.settle()
                await outcomes.unclaim(context.records, self._worker_name, running)
                await context.intake.give_back(context.intake.held)
                await reports.remove(context.records, self._worker_name)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("some jobs are left to the leases of this worker to run out: %r", error)
        await asyncio.to_thread(context.launcher.close)

    async def _finish(self, endpoints: list[Endpoint]) -> None:
        """Let what runs come to its end, for as long as that may take and nobody is in a hurry."""
        assert self._hurried is not None  # noqa: S101 - this runs on the loop that made it
        stopping = asyncio.gather(*(endpoint.stop() for endpoint in endpoints))
        hurried = asyncio.create_task(self._hurried.wait())
        either: list[asyncio.Future[Any]] = [stopping, hurried]
        await asyncio.wait(either, timeout=self._settings.shutdown_grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
