"""All that one event loop does with jobs: submit, read, await and follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workers.jobs import accept, query
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.job import JobOptions
from workers.jobs.on_loop import lookups
from workers.jobs.on_loop.commits import Commits
from workers.jobs.on_loop.following import Following
from workers.jobs.on_loop.fresh_paces import FreshPaces
from workers.jobs.on_loop.lookups import Found
from workers.jobs.on_loop.reads import Reads
from workers.jobs.on_loop.waits import Waits
from workers.jobs.query import JobView
from workers.platform.ids import new_id
from workers.platform.loops.blocking import LONG_BYTES, beside, in_pool
from workers.platform.redis import async_client as async_redis
from workers.platform.redis.async_client import Client
from workers.platform.redis.client import translated_errors
from workers.settings import load
from workers.tracing import spans

_SENDERS = 32


class Desk:
    """One for each event loop, on which it is made, used and closed."""

    def __init__(self, client: Client | None = None) -> None:
        self._client = client or async_redis.connect(load().redis_url)
        self._commits = Commits(self._client)
        #: Threads that publish messages to another broker.
        self._senders = ThreadPoolExecutor(_SENDERS, "queuecast-senders")
        self.fresh_paces = FreshPaces()
        self.reads = Reads(self._client, self.fresh_paces)
        self.waits = Waits(self._client, self.reads)
        self.following = Following(self.waits, self.reads)

    async def close(self) -> None:
        """Give up all that is under way."""
        await self.following.close()
        await self.waits.close()
        self.fresh_paces.close()
        self._senders.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def submit(  # noqa: PLR0913, PLR0917 - what makes a job
        self,
        endpoint_name: str,
        rows: Mapping[str, Any],
        limits: Limits,
        idempotency: Idempotency | None,
        owner: str | None,
        options: JobOptions,
        job_id: str | None = None,
        *,
        size_bytes: int = 0,
    ) -> JobView:
        """Submit one job, as `query.submit` does; with long rows (`size_bytes`) it is made ready in another thread.

        Raises:
            JobArgumentsWrong, TargetRefused, QueueFull, IdempotencyConflict, JobUnconfirmed, QueueUnavailable: as
                `query.submit`.
        """
        args, kwargs = query.arguments_of(endpoint_name, rows)
        if not load().queues_beside_records:
            # Messages for another broker are sent by a library that blocks.
            accepted = await in_pool(
                self._senders, accept.submit, args, kwargs, limits=limits, idempotency=idempotency, owner=owner,
                task_id=job_id, options=options,
            )  # fmt: skip
        else:
            job_id = job_id or new_id()
            options = options.over(accept.default_options({}, limits))
            celery_options: dict[str, Any] = {}
            with spans.sending(endpoint_name, job_id, celery_options) as traceparent, translated_errors():
                about = job_id, endpoint_name, (args, kwargs), owner, options, celery_options, traceparent
                is_long = size_bytes > LONG_BYTES
                new = await beside(size_bytes, accept.prepare, *about) if is_long else accept.prepare(*about)
                accepted = await self._commits.commit(new, limits, idempotency)
        if accepted.repeated:
            [job] = await self.reads.with_positions([await self.reads.get(accepted.job_id)])
            return job
        return query.accepted_view(accepted, owner)

    async def look_up(self, job_ids: Sequence[str], wait_s: float = 0, owner: str | None = None) -> Found:
        """Return these jobs, as `lookups.look_up`. Raises QueueUnavailable."""
        return await lookups.look_up(self.reads, self.waits, job_ids, wait_s, owner)
