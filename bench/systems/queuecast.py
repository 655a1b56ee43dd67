"""Queuecast itself: the API server, one worker and a private Redis, started as the Procfile does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import redis

from bench.load_client import request
from bench.models import FOREST, ONE_THREAD, QUADRATIC, all_models, model_of
from bench.systems import templates
from bench.systems.base import WAIT_S, QueueSystem
from tests.support.service.stack import Stack
from workers import keys
from workers.app import app
from workers.jobs import records
from workers.jobs.job import Job
from workers.queues.naming import TASK_NAME, queue_name

_DEPLOYED = (QUADRATIC, FOREST)


class Queuecast(QueueSystem):
    """The service, with an endpoint for each model, every setting at its default.

    Args:
        folder: for data and logs.
        models: what to deploy; each endpoint is called as its model.
        env: settings that are not at their default.
    """

    name = "queuecast"

    def __init__(self, folder: Path, models: Sequence[str] = _DEPLOYED, env: Mapping[str, str] | None = None) -> None:
        self.stack = Stack(folder, env={**ONE_THREAD, **(env or {})})
        self.port = self.stack.port
        self._models = models

    def __enter__(self) -> Self:
        self.stack.__enter__()
        try:
            for name in self._models:
                self.register(name)
            self.stack.start_worker()
            for name in self._models:
                self.stack.deploy(name, endpoint_name=name)
        except BaseException:
            self.stack.__exit__(None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.__exit__(None)

    def stop_api(self) -> None:
        """End the API's process."""
        self.stack.server.stop()

    def start_api(self) -> None:
        """Start it again; returns when it is ready."""
        self.stack.start_server()

    def stop_worker(self) -> None:
        """End the worker."""
        self.stack.workers.pop().stop()

    def start_worker(self) -> None:
        """Start it again; returns at once."""
        self.stack.start_worker(wait=False)

    def register(self, name: str) -> None:
        """Register a version of a model."""
        each = all_models()[name]
        self.stack.register(name, each.model, each.row, runtime=each.runtime)

    @property
    def redis_url(self) -> str:
        """Its private Redis, with its append-only file."""
        return self.stack.redis.url

    def processes(self) -> Mapping[str, tuple[int, bool]]:
        """API, worker, hosts with their forkserver, Redis."""
        worker = self.stack.workers[0].pid
        children = self.stack.workers[0].descendants()
        hosts = {f"host {each.pid}": (each.pid, False) for each in children}
        redis_pid = self.stack.redis.pid
        assert redis_pid is not None
        return {"api": (self.stack.server.pid, True), "worker": (worker, False), **hosts, "redis": (redis_pid, False)}

    def consumer_pids(self) -> Sequence[int]:
        """The worker."""
        return [self.stack.workers[0].pid]

    def submit_request(self, model: str, rows: int | None = None) -> bytes:
        """Submit to the endpoint's own URL."""
        body = model_of(model).body(rows)
        return request("POST", f"/predict/{model}", body, Content_Type="application/json")

    def wait_request(self, model: str, rows: int | None = None) -> bytes:
        """The same with `Prefer: wait`."""
        body = model_of(model).body(rows)
        return request("POST", f"/predict/{model}", body, Content_Type="application/json", Prefer=f"wait={WAIT_S}")

    def bulk_request(self, model: str, jobs: int) -> bytes:
        """Submit many jobs at once."""
        body = b"".join(model_of(model).body() + b"\n" for _ in range(jobs))
        return request("POST", f"/predict/{model}/bulk", body, Content_Type="application/x-ndjson")

    def queue(self, model: str) -> str:
        """The endpoint's queue."""
        return queue_name(model)

    def put(self, client: redis.Redis, model: str, job_ids: Sequence[str]) -> None:
        """Store records and messages as an accepted request does."""
        now = time.time()
        message = self._template(model, **{keys.SUBMITTED_AT_HEADER: now})
        record = records.queued(Job(templates.ID_MARK, model, now))
        mark = templates.ID_MARK.encode()
        for chunk in templates.chunks(job_ids):
            pipeline = client.pipeline(transaction=False)
            for job_id in chunk:
                pipeline.set(keys.record(job_id), record.replace(mark, job_id.encode()), ex=86_400)
                pipeline.set(keys.message(job_id), message.replace(mark, job_id.encode()), ex=86_400)
            pipeline.zadd(keys.unfinished(model), dict.fromkeys(chunk, now))
            pipeline.sadd(keys.ENDPOINTS, model)
            pipeline.execute()
        templates.push(client, self.queue(model), message, job_ids)

    def put_bare(self, client: redis.Redis, model: str, count: int) -> None:
        """As a Celery program that knows nothing of Queuecast would, but faster."""
        templates.push_many(client, self.queue(model), self._template(model), count)

    def answer_key(self, job_id: str) -> str:
        """Celery's."""
        return keys.record(job_id)

    def _template(self, model: str, **headers: Any) -> bytes:
        return templates.template(app, self.queue(model), TASK_NAME, (model, model_of(model).row), **headers)
