"""Pipelines over endpoints `one`, `two` and `three`, whose worker is a stand-in, in a registry of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from registry import deployments
from registry.database import Database
from tests.api.stand_in_worker import StandInWorker
from workers import keys
from workers.jobs import query
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.job import JobOptions
from workers.jobs.query import JobView
from workers.pipelines import submitting
from workers.pipelines.mover import PipelineMover
from workers.pipelines.submitting import NewPipeline
from workers.platform.ids import step_id

NAMES = ("one", "two", "three")


class Pipes:
    """Submits pipelines, plays their workers, and advances them."""

    def __init__(self, store: redis.Redis, database: Database) -> None:
        self.store = store
        self.database = database
        self.worker = StandInWorker("redis://%(host)s:%(port)s/0" % store.connection_pool.connection_kwargs)  # noqa: UP031
        self.mover = PipelineMover(database)

    def submit(
        self,
        names: Sequence[str] = NAMES,
        row: Any = 1,
        *,
        limits: Limits | None = None,
        owner: str | None = None,
        key: str | None = None,
        many: bool = False,
        **options: Any,
    ) -> JobView:
        once = None if key is None else Idempotency(key, repr((names, row)).encode())
        rows = {"inputs": row} if many else {"input": row}
        new = NewPipeline(names, rows, JobOptions(**options), owner, idempotency=once)
        return submitting.submit(new, limits or Limits())

    def advance(self) -> None:
        """Advance all pipelines, as if some time had passed."""
        for each in self.unfinished():
            self.store.zadd(keys.PIPELINES_DUE, {each: 0})
        self.mover.advance_due()

    def unfinished(self) -> list[str]:
        """The pipelines that have not ended."""
        found: Any = self.store.zrange(keys.PIPELINES_DUE, 0, -1)
        return [each.decode() for each in found]

    def step(self, job: JobView, number: int) -> JobView:
        return query.get(step_id(job.job_id, number))

    def statuses(self, job: JobView) -> list[str]:
        return [each["status"] for each in query.get(job.job_id).document()["steps"]]

    def rows(self, job: JobView, number: int) -> Any:
        """The arguments that a step was submitted with."""
        from workers.queues import envelopes

        copy: Any = self.store.get(keys.message(step_id(job.job_id, number)))
        args, kwargs = envelopes.decode(copy).arguments()
        return args[1] if len(args) > 1 else kwargs["inputs"]

    def succeed(self, job: JobView, number: int, prediction: Any, *, many: bool = False) -> None:
        self.worker.succeed(step_id(job.job_id, number), NAMES[number - 1], prediction, many=many)

    def undeploy(self, name: str, backlog: str = "drain") -> None:
        with self.database.session() as session:
            deployments.undeploy(session, name, backlog)
            session.commit()


@pytest.fixture
def pipes(store: redis.Redis, database: Database) -> Pipes:
    with database.session() as session:
        for name in NAMES:
            deployments.deploy(session, "m", version="1", endpoint_name=name)
        session.commit()
    return Pipes(store, database)
