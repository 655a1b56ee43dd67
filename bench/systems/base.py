"""What the figures ask of a system: requests, its processes, and jobs put into its queue."""

from __future__ import annotations

import json
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import cast

import psutil
import redis

from bench.load_client import Polled, request
from bench.resources import CpuMeter, family

#: Longest wait of a request that waits; every server and every client allows more.
WAIT_S = 30
_LOOK_S = 0.01
#: Answers that are looked for at once.
_WINDOW = 256


class Unsupported(Exception):
    """This system has no such thing (yet); the message says what."""


class System(ABC):
    """One system under test; a context manager that starts and ends its processes.

    Attributes:
        name: its column in the table.
        port: where its HTTP API listens on loopback.
        submit_status: the HTTP status of a submit.
    """

    name: str
    port: int
    submit_status = 202

    @abstractmethod
    def __enter__(self) -> System: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def processes(self) -> Mapping[str, tuple[int, bool]]:
        """Return role -> process id and whether its children belong to the role."""

    @abstractmethod
    def submit_request(self, model: str, rows: int | None = None) -> bytes:
        """Return the request that submits a job of one input, or of a list of so many."""

    @abstractmethod
    def wait_request(self, model: str, rows: int | None = None) -> bytes:
        """Return the request that submits such a job and is answered with its outcome."""

    def meter(self) -> CpuMeter:
        """Return a meter of processor time by role."""
        return CpuMeter(self.processes())


class QueueSystem(System):
    """A system that keeps jobs in a queue of Redis, from where something else takes them."""

    @property
    @abstractmethod
    def redis_url(self) -> str:
        """Its private Redis."""

    @abstractmethod
    def consumer_pids(self) -> Sequence[int]:
        """Return the processes that take jobs from the queue, without their children."""

    @abstractmethod
    def queue(self, model: str) -> str:
        """Return the Redis list of a model's jobs."""

    @abstractmethod
    def put(self, client: redis.Redis, model: str, job_ids: Sequence[str]) -> None:
        """Put a job of one input for each id into the queue, as if submitted, but faster."""

    @abstractmethod
    def put_bare(self, client: redis.Redis, model: str, count: int) -> None:
        """Put messages alone into the queue, as fast as can be: a backlog that nobody asks about."""

    @abstractmethod
    def answer_key(self, job_id: str) -> str:
        """Return the key of a job's answer."""

    def succeeded(self, record: bytes) -> bool | None:
        """Tell from a record whether its job succeeded; None while it has not ended."""
        status = json.loads(record)["status"]
        return None if status in ("QUEUED", "STARTED", "PENDING") else bool(status == "SUCCESS")

    def polled(self, model: str) -> Polled:
        """Return a job of one input whose client looks until it has ended."""
        return Polled(self.submit_request(model), _look_request, _has_ended)

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """Yield a client of its Redis."""
        with redis.Redis.from_url(self.redis_url, socket_timeout=60) as client:
            yield client

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop what takes jobs from the queue (SIGSTOP) until the block ends."""
        stopped = [each for pid in self.consumer_pids() for each in family(pid)]
        try:
            for each in stopped:
                each.suspend()
            yield
        finally:
            for each in stopped:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGCONT)

    def wait_until_answered(self, job_ids: Sequence[str], timeout_s: float) -> None:
        """Wait until all these jobs have succeeded.

        Raises:
            RuntimeError: one failed, or they took longer than that.
        """
        ends_at, left = time.monotonic() + timeout_s, list(job_ids)
        with self.redis() as client:
            while left:
                looked = left[:_WINDOW]
                found = cast("list[bytes | None]", client.mget([self.answer_key(job_id) for job_id in looked]))
                waiting = [job_id for job_id, record in zip(looked, found, strict=True) if not self._done(record)]
                left = waiting + left[_WINDOW:]
                if time.monotonic() > ends_at:
                    raise RuntimeError(f"{len(left)} of {len(job_ids)} jobs have no answer after {timeout_s:.0f} s")
                if waiting:
                    time.sleep(_LOOK_S)

    def _done(self, record: bytes | None) -> bool:
        succeeded = None if record is None else self.succeeded(record)
        if succeeded is False:
            raise RuntimeError(f"a job failed: {record!r:.500}")
        return bool(succeeded)

    def wait_until_idle(self, model: str, timeout_s: float = 60.0) -> None:
        """Wait until the queue of a model is empty. Raises RuntimeError after that time."""
        ends_at = time.monotonic() + timeout_s
        with self.redis() as client:
            while client.llen(self.queue(model)):
                if time.monotonic() > ends_at:
                    raise RuntimeError(f"{self.name}'s queue is not empty after {timeout_s:.0f} s")
                time.sleep(_LOOK_S)

    def discard(self, model: str) -> None:
        """Drop what waits in the queue of a model."""
        with self.redis() as client:
            client.delete(self.queue(model))


def _look_request(submitted: bytes) -> bytes:
    return request("GET", f"/jobs/{json.loads(submitted)['job_id']}")


def _has_ended(shown: bytes) -> bool:
    """Tell whether the job has succeeded; all these systems say so in almost the same words."""
    status = json.loads(shown)["status"].lower()
    if status not in ("queued", "pending", "started", "running", "success", "succeeded"):
        raise RuntimeError(f"a job failed: {shown!r:.500}")
    return bool(status.startswith("succe"))
