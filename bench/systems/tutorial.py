"""Tutorial Celery: what a user would write (bench/tutorial), one prefork child, everything at its default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import redis
from celery import Celery

from bench.load_client import request
from bench.models import FOREST, QUADRATIC, model_of
from bench.systems import templates
from bench.systems.base import WAIT_S, QueueSystem
from bench.systems.flask_service import START_LIMIT_S, FlaskService

#: Celery's default queue, which all models share.
_QUEUE = "celery"
_TASK = "bench.tutorial.tasks.predict"
_WORKER = "python -m celery -A bench.tutorial.tasks worker --concurrency 1"


class Tutorial(QueueSystem):
    """Flask, `task.delay`, `AsyncResult`, a prefork worker with one child.

    Args:
        folder: for data and logs.
        pickles: where the models are.
        models: which of them the worker loads.
    """

    name = "tutorial"

    def __init__(self, folder: Path, pickles: Path, models: Sequence[str] = (QUADRATIC, FOREST)) -> None:
        self.service = FlaskService(
            folder,
            "bench.tutorial.web:web",
            {"TUTORIAL_REDIS_URL": "{redis}", "TUTORIAL_MODELS_DIR": str(pickles), "TUTORIAL_MODELS": ",".join(models)},
        )
        self.port = self.service.port
        self._models = models
        self._app = Celery("tutorial-bench", set_as_current=False)

    def __enter__(self) -> Self:
        try:
            self.service.__enter__()
            self.start_worker()
            self.start_api()
            self.try_model(self._models[0])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._app.close()
        self.service.__exit__()

    def stop_api(self) -> None:
        """End the web server."""
        self.service.web.stop()

    def start_api(self) -> None:
        """Start it (again); returns when it listens."""
        self.service.start_web()

    def stop_worker(self) -> None:
        """End the worker."""
        self.service.workers.pop().stop()

    def start_worker(self) -> None:
        """Start it (again); returns at once."""
        self.service.start_worker([*_WORKER.split(), "--hostname", f"tutorial-{self.port}@%h"])

    def try_model(self, model: str) -> None:
        """Run one job, which waits until the worker has its models and consumes."""
        job_ids = templates.ids(1)
        with self.redis() as client:
            self.put(client, model, job_ids)
        self.wait_until_answered(job_ids, START_LIMIT_S)

    @property
    def redis_url(self) -> str:
        """Its private Redis, without an append-only file: what it was never asked to keep costs it nothing."""
        return self.service.redis.url

    def processes(self) -> Mapping[str, tuple[int, bool]]:
        """Web server, Celery's parent, its child, Redis."""
        parent = self.service.workers[0]
        children = {f"host {each.pid}": (each.pid, False) for each in parent.descendants()}
        return {**self.service.processes(), "worker": (parent.pid, False), **children}

    def consumer_pids(self) -> Sequence[int]:
        """Celery's parent, with its child."""
        return [self.service.workers[0].pid]

    def submit_request(self, model: str, rows: int | None = None) -> bytes:
        """Submit to the model's URL."""
        return request("POST", f"/predict/{model}", model_of(model).body(rows), Content_Type="application/json")

    def wait_request(self, model: str, rows: int | None = None) -> bytes:
        """The same with `?wait`, which is `AsyncResult.get` in the request."""
        path = f"/predict/{model}?wait={WAIT_S}"
        return request("POST", path, model_of(model).body(rows), Content_Type="application/json")

    def queue(self, model: str) -> str:
        """Celery's default queue, whatever the model."""
        del model
        return _QUEUE

    def put(self, client: redis.Redis, model: str, job_ids: Sequence[str]) -> None:
        """Send what `delay` sends."""
        templates.push(client, _QUEUE, self._template(model), job_ids)

    def put_bare(self, client: redis.Redis, model: str, count: int) -> None:
        """The same."""
        templates.push_many(client, _QUEUE, self._template(model), count)

    def answer_key(self, job_id: str) -> str:
        """Celery's."""
        return f"celery-task-meta-{job_id}"

    def _template(self, model: str) -> bytes:
        return templates.template(self._app, _QUEUE, _TASK, (model, [model_of(model).row]))
