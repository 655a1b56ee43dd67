"""The floor: a bare redis-py loop (bench/floor), one by one and in batches of 64, behind one Flask route."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import redis

from bench.floor import keys
from bench.load_client import request
from bench.models import model_of
from bench.systems import templates
from bench.systems.base import WAIT_S, QueueSystem
from bench.systems.flask_service import START_LIMIT_S, FlaskService


class FloorService(FlaskService):
    """Redis, the route, and one loop for each size of batch; both loops are idle unless asked."""

    def __init__(self, folder: Path, pickles: Path, batches: Sequence[int]) -> None:
        super().__init__(folder, "bench.floor.web:web", {"FLOOR_REDIS_URL": "{redis}"})
        self.batches = list(batches)
        self._pickles = pickles

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            for batch in self.batches:
                command = f"python -m bench.floor.worker --redis {self.redis.url} --batch {batch} --models"
                self.start_worker([*command.split(), str(self._pickles)])
            self.start_web()
            for worker in self.workers:
                worker.wait_for_log("ready", START_LIMIT_S)
        except BaseException:
            self.__exit__()
            raise
        return self


class Floor(QueueSystem):
    """One of the loops of a service that somebody else starts and ends."""

    def __init__(self, service: FloorService, batch: int) -> None:
        self.name = "floor" if batch == 1 else f"floor {batch}"
        self.port = service.port
        self._service = service
        self._batch = batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def redis_url(self) -> str:
        """Its private Redis, without an append-only file."""
        return self._service.redis.url

    def processes(self) -> Mapping[str, tuple[int, bool]]:
        """Web server, loop, Redis."""
        return {**self._service.processes(), "worker": (self.consumer_pids()[0], False)}

    def consumer_pids(self) -> Sequence[int]:
        """The loop."""
        return [self._service.workers[self._service.batches.index(self._batch)].pid]

    def submit_request(self, model: str, rows: int | None = None) -> bytes:
        """Submit to the model's URL."""
        path = f"/{self._batch}/predict/{model}"
        return request("POST", path, model_of(model).body(rows), Content_Type="application/json")

    def wait_request(self, model: str, rows: int | None = None) -> bytes:
        """The same, looking for the answer until it is there."""
        path = f"/{self._batch}/predict/{model}?wait={WAIT_S}"
        return request("POST", path, model_of(model).body(rows), Content_Type="application/json")

    def queue(self, model: str) -> str:
        """The list of its loop."""
        return keys.queue(self._batch, model)

    def put(self, client: redis.Redis, model: str, job_ids: Sequence[str]) -> None:
        """Send what the route sends."""
        templates.push(client, self.queue(model), self._template(model), job_ids)

    def put_bare(self, client: redis.Redis, model: str, count: int) -> None:
        """The same."""
        templates.push_many(client, self.queue(model), self._template(model), count)

    def answer_key(self, job_id: str) -> str:
        """The answer alone."""
        return keys.answer(job_id)

    def succeeded(self, record: bytes) -> bool:
        """An answer is only there after a success."""
        return bool(record)

    def _template(self, model: str) -> bytes:
        return json.dumps({"id": templates.ID_MARK, "rows": [model_of(model).row]}).encode()
