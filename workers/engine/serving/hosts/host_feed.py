"""Gives one host batch after batch. The next batch is claimed shortly before the host is free, so that it never waits.

A claimed job is `running` for its clients, and no other host can take it. So a batch is claimed ahead only if it is
full, when waiting for more jobs gains nothing, and only a few ms before the host is expected to be free. If the host
is late or lost, the claim is taken back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.deployments import DesiredDeployment
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.batches.batch_run import BatchRun
from workers.engine.serving.hosts.pace import PaceMeter
from workers.engine.serving.trials.trial import Side
from workers.hosts.worker_side.host import RemoteHost

_log = logging.getLogger(__name__)

#: A batch is claimed so long before the host is expected to be free; a claim takes 1 to 3 ms.
_CLAIMED_AHEAD_S = 0.005
#: A claim that was made ahead is taken back if the host is not free after this long.
_LONGEST_WAIT_S = 0.05
#: A host that has had no batch for the batch delay and this long was idle.
_BETWEEN_BATCHES_S = 0.02

#: The share of a host's time that loading after forced cancellations may take.
_LOADING_SHARE = 0.05
#: Starting a process takes time, too, however small the model is.
_SHORTEST_LOAD_S = 0.5


class HostStopLimit:
    """Limits how often forced cancellations by clients may stop the hosts of a version.

    After a stop all other jobs wait until another host is loaded, so stops may cost at most a twentieth of a host's
    time. Beyond the limit a cancelled job runs on to its end or its time limit, and its outcome is discarded.
    """

    def __init__(self) -> None:
        #: When the next stop is allowed (s, monotonic).
        self._next_at = 0.0

    def take(self, load_s: float) -> bool:
        """Allow a stop of a host that took `load_s` to load, and count it; False if the last stop is too recent."""
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + max(load_s, _SHORTEST_LOAD_S) / _LOADING_SHARE
        return True


class HostFeed:
    """The batches of one slot; belongs to one event loop."""

    def __init__(  # noqa: PLR0913, PLR0917 - constructed in one place
        self,
        context: Context,
        batcher: Batcher,
        deployment: Callable[[], DesiredDeployment],
        pace: PaceMeter,
        stop_limit: HostStopLimit,
        stopping: asyncio.Event,
        side: Callable[[], Side | None] = lambda: None,
    ) -> None:
        self._context = context
        self._batcher = batcher
        self._deployment = deployment
        self._pace = pace
        self._stop_limit = stop_limit
        self._stopping = stopping
        #: The arm of a trial that the pool serves now.
        self._side = side
        self._host: RemoteHost | None = None
        #: The batches that have not ended: at most one that was predicted, one at the host, and one claimed ahead.
        self._batches: list[BatchRun] = []
        #: Those that were predicted and have not ended.
        self._predicted: list[BatchRun] = []
        #: End of the last batch, if jobs waited then (monotonic).
        self._due_at: float | None = None

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs that the host has or gets next."""
        return [job for batch in self._batches for job in batch.jobs]

    def cancel(self, job: QueuedJob, *, at_once: bool) -> None:
        """End a cancelled job, if it is in one of the batches.

        With `at_once` the host that has it is stopped, and the other jobs of its batch run again. Otherwise it is
        stopped only if all jobs of the batch are cancelled and `HostStopLimit` allows it.
        """
        batch = next((batch for batch in self._batches if job in batch.jobs), None)
        if batch is None or self._host is None:
            return
        batch.cancel(job)
        if batch.is_at_host and (
            at_once or (batch.is_unwanted and self._stop_limit.take((self._host.load_ms or 0.0) / 1000))
        ):
            batch.stop_host()

    async def run(self, host: RemoteHost, jobs: list[QueuedJob]) -> None:
        """Run a batch, and then those that are claimed while the host predicts the one before."""
        self._host = host
        try:
            await self._run(host, self._begin(jobs))
        finally:
            self._end_predicted(host)
            self._host = None
            self._batches.clear()

    async def _run(self, host: RemoteHost, first: BatchRun) -> None:
        with self._ended_on_error(first):
            self._batcher.put(await first.claim())
        batch: BatchRun | None = first
        while batch is not None and (len(self._batcher) or self._predicted):
            batch = await self._predict_while_claiming(host, batch)
        if batch is not None:
            await self._predict(host, batch)

    async def _predict_while_claiming(self, host: RemoteHost, batch: BatchRun) -> BatchRun | None:
        """Predict a batch that others wait behind; return the one that was claimed in the meantime."""
        predicting = asyncio.create_task(self._predict(host, batch))
        claiming = asyncio.create_task(self._claim_ahead(batch, predicting))
        try:
            # The host and Redis work on the next batches while the last one ends here.
            await asyncio.sleep(0)
            self._end_predicted(host)
            await asyncio.wait([predicting, claiming], return_when=asyncio.FIRST_COMPLETED)
            if not claiming.done():
                self._end_predicted(host)
            return await self._claimed(host, predicting, claiming)
        finally:
            predicting.cancel()
            claiming.cancel()

    async def _predict(self, host: RemoteHost, batch: BatchRun) -> None:
        host.max_memory_bytes = memory_limit_bytes(self._deployment())
        with self._ended_on_error(batch):
            await batch.predict(host)
        self._predicted.append(batch)

    async def _claim_ahead(self, batch: BatchRun, predicting: asyncio.Task[None]) -> BatchRun | None:
        """Claim the next batch if it is full, shortly before the host is free; None if the host is free before.

        A claim counts as an attempt if this worker is killed, so jobs with only one are left for a free host.
        """
        if self._deployment().settings.max_attempts == 1:
            return None
        expected_ms = self._batcher.size.expected_ms(batch.rows)
        pause_s = 0.0 if expected_ms is None else expected_ms / 1000 - _CLAIMED_AHEAD_S
        if expected_ms is None or pause_s > 0:
            await asyncio.wait([predicting], timeout=None if expected_ms is None else pause_s)
        if predicting.done() or self._stopping.is_set() or not self._batcher.has_full_batch:
            return None
        following = self._begin(self._batcher.take())
        with self._ended_on_error(following):
            self._batcher.put(await following.claim(ahead=True))
        return following

    async def _claimed(
        self, host: RemoteHost, predicting: asyncio.Task[None], claiming: asyncio.Task[BatchRun | None]
    ) -> BatchRun | None:
        """Return the batch that was claimed ahead once the host is free; None if there is none or the host is lost."""
        following = await claiming
        if following is not None:
            await asyncio.wait([predicting], timeout=_LONGEST_WAIT_S)
            if not predicting.done() or host.exited.done():
                await self._release(following)
                following = None
        await predicting
        return following

    async def _release(self, batch: BatchRun) -> None:
        with self._ended_on_error(batch):
            self._batcher.put_back(await batch.release())
        self._batches.remove(batch)

    def _begin(self, jobs: list[QueuedJob]) -> BatchRun:
        deployment = self._deployment()
        self._context.intake.made_room(deployment.endpoint_name)
        batch = BatchRun(self._context, deployment, jobs, self._batcher.size, self._side())
        self._batches.append(batch)
        return batch

    def _end_predicted(self, host: RemoteHost) -> None:
        """End the predicted batches, and measure their pace."""
        for batch in self._predicted:
            began = self._start_of(batch)
            with self._ended_on_error(batch):
                self._batcher.put(batch.end())
                # A lost host and a batch of cancelled jobs are no measurement of the pace.
                self._record_pace(batch.jobs if not host.exited.done() else [], began)
            self._batches.remove(batch)
        self._predicted.clear()

    def _start_of(self, batch: BatchRun) -> float:
        """Return the start of a batch: the end of the last one, unless the host was idle since then."""
        gap_s = self._deployment().settings.max_batch_delay_ms / 1000 + _BETWEEN_BATCHES_S
        due_at = self._due_at
        return due_at if due_at is not None and batch.began_at - due_at < gap_s else batch.began_at

    def _record_pace(self, jobs: list[QueuedJob], began: float) -> None:
        now = time.monotonic()
        self._due_at = now if len(self._batcher) or self._batches[1:] else None
        self._pace.ended(len(jobs), sum(len(job.rows) for job in jobs), now - began)
        if self._pace.has_changed():
            self._context.changed.set()

    @contextmanager
    def _ended_on_error(self, batch: BatchRun) -> Iterator[None]:
        """End the jobs of a batch after an error of the engine."""
        try:
            yield
        except Exception:  # noqa: BLE001 - an error of the engine must still end its jobs
            _log.exception("unexpected error while running a batch of %s", self._deployment().endpoint_name)
            batch.give_up()


def memory_limit_bytes(deployment: DesiredDeployment) -> int | None:
    """Return the memory limit of a deployment's hosts; None for no limit."""
    limit_mb = deployment.settings.max_memory_mb
    return None if limit_mb is None else limit_mb * 1024 * 1024
