"""The audit: each accepted job has its one right end, a reported end never changes, and nothing is left over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import redis

from bench.soak import traffic
from bench.soak.neighbour import Neighbour
from bench.soak.service import Service
from bench.soak.traffic import Accepted, Document, Traffic
from tests.faults.audit import leftovers
from tests.support.service.processes import living
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys

_ENDS_LIMIT_S = 120.0
_PAUSE_S = 0.5
_LOOKED_UP_AT_ONCE = 200
#: The age at which an end is read again if its outcome is kept only for a short time.
_READ_AGAIN_S = 45.0
_LEFTOVERS_LIMIT_S = 15.0
_PROBLEMS_KEPT = 50
_ANSWER_TIMEOUT_S = 60.0
_ENDED = ("succeeded", "failed", "cancelled", "expired")


@dataclass
class Told:
    """A job's end, as it was reported first."""

    digest: bytes
    at: float
    again: bool = False


class Auditor:
    """Reads the ends of jobs while the service is being broken, and all of them again afterwards.

    Args:
        url: the API's.
        sources: where accepted jobs come from; they may accept more at any time.

    Attributes:
        told: job id -> its end, as it was reported first.
        slowest_s: endpoint -> the longest time between a job's submit and its end.
        problems: what was found wrong.
    """

    def __init__(self, url: str, sources: Sequence[Traffic | Neighbour]) -> None:
        self.told: dict[str, Told] = {}
        self.slowest_s: dict[str, float] = {}
        self.problems: list[str] = []
        self._url = url
        self._sources = sources
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="auditor", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more until `finish`."""
        self._stopping.set()
        self._thread.join()

    def finish(self) -> None:
        """Wait until every job has ended, and read every reported end once more.

        Raises:
            AssertionError: jobs have not ended in time; the message counts them.
        """
        with self._api() as api:
            self._read_all(api, self._untold, "every job has ended")
            self._read_all(api, self._told_once, "every end was read again")

    def jobs(self) -> list[Accepted]:
        """Return all jobs that were accepted so far."""
        return [job for source in self._sources for job in tuple(source.accepted)]

    def _api(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, timeout=_ANSWER_TIMEOUT_S)

    def _run(self) -> None:
        with self._api() as api:
            while not self._stopping.wait(_PAUSE_S):
                with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):  # it is broken at the moment
                    self._read(api, self._untold())
                    self._read(api, self._due_again())

    def _untold(self) -> list[Accepted]:
        return [job for job in self.jobs() if job.job_id not in self.told]

    def _told_once(self) -> list[Accepted]:
        return [job for job in self.jobs() if job.job_id in self.told and not self.told[job.job_id].again]

    def _due_again(self) -> list[Accepted]:
        """Return the jobs with an end reported a while ago whose outcomes are not kept until the soak is over."""
        before = time.monotonic() - _READ_AGAIN_S
        return [job for job in self._told_once() if job.stream.kept_s and self.told[job.job_id].at < before]

    def _read_all(self, api: httpx.Client, left: Callable[[], list[Accepted]], message: str) -> None:
        """Read jobs until none is left; repeat requests that are refused."""

        def none_is_left() -> bool:
            with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):
                self._read(api, left())
            jobs = left()
            assert not jobs, f"not so for {len(jobs)} jobs, such as {jobs[0]}"
            return True

        eventually(none_is_left, _ENDS_LIMIT_S, interval_s=_PAUSE_S, message=message)

    def _read(self, api: httpx.Client, jobs: Iterable[Accepted]) -> None:
        by_id = {job.job_id: job for job in jobs}
        left = list(by_id)
        while left:
            asked, left = left[:_LOOKED_UP_AT_ONCE], left[_LOOKED_UP_AT_ONCE:]
            answer = api.post("/jobs/lookup", json={"job_ids": asked}).raise_for_status().json()
            left += answer["left_job_ids"]
            for job_id in answer["unknown_job_ids"]:
                self._unknown(by_id[job_id])
            for document in answer["jobs"]:
                self._check(by_id[document["job_id"]], document)

    def _unknown(self, job: Accepted) -> None:
        told = self.told.get(job.job_id)
        if told is not None:
            told.again = True
        if told is not None or job.recorded:
            self._note(f"lost: {job}")

    def _check(self, job: Accepted, document: Document) -> None:
        told = self.told.get(job.job_id)
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
        if told is not None:
            told.again = True
            if told.digest != digest:
                self._note(f"its reported end has changed: {job} {json.dumps(document):.1000}")
        elif document["status"] in _ENDED:
            self.told[job.job_id] = Told(digest, time.monotonic())
            if not job.is_right(document):
                self._note(f"not its right end: {job} {json.dumps(document):.1000}")
            elif document["outcome"] is not None:
                took_s, name = document["outcome"]["timing"]["total_ms"] / 1000, job.stream.endpoint_name
                self.slowest_s[name] = max(self.slowest_s.get(name, 0.0), took_s)

    def _note(self, problem: str) -> None:
        if problem not in self.problems and len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)


def audit(service: Service, auditor: Auditor, neighbour: Neighbour) -> list[str]:
    """Return all problems, once the service has nothing left to do."""
    problems = service.ended_by_themselves()
    for look in (auditor.finish, lambda: _nothing_is_left(service.stack, auditor.jobs())):
        try:
            look()
        except AssertionError as error:
            problems.append(str(error)[:2_000])
    if lost := sum(neighbour.lost_junk().values()):
        problems.append(f"{lost} of {len(neighbour.junk)} malformed messages were not put aside")
    return auditor.problems + problems + _hosts_left(service)


def _nothing_is_left(stack: Stack, jobs: Sequence[Accepted]) -> None:
    ids = {name: [job.job_id for job in jobs if job.stream.endpoint_name == name] for name in traffic.ENDPOINTS}

    def left() -> dict[str, Any]:
        found = {name: leftovers(stack, name, job_ids) for name, job_ids in ids.items()}
        with redis.Redis.from_url(stack.redis.url) as client:
            found["all"] = {name: client.hgetall(name) for name in (keys.HOLDERS, keys.READING) if client.exists(name)}
        return {name: value for name, value in found.items() if value}

    def nothing_is_left() -> bool:
        found = left()
        assert not found, str(found)
        return True

    eventually(nothing_is_left, _LEFTOVERS_LIMIT_S, message="nothing is left of ended jobs")


def _hosts_left(service: Service) -> list[str]:
    """Undeploy everything, and return the host processes that this has not ended."""
    workers = [worker for worker in service.workers if worker.running]
    family = [process for worker in workers for process in worker.descendants()]
    for name in traffic.ENDPOINTS:
        service.stack.undeploy(name)
    # One process of each worker stays: the one that hosts are forked from.
    hosts = [each.pid for each in living(family) if each.parent() and not each.children()]
    return [f"host processes are left: {hosts}"] if len(hosts) > len(workers) else []
