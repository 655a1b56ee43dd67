"""A service with one worker or two, a thousand deployments, and what is killed and measured of it."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain

import redis

from bench.density.kinds import Kind, kinds
from tests.support.calls import expect
from tests.support.service.stack import Stack, Worker
from workers.hosts import processes
from workers.measures import reports

MEBIBYTE = 1 << 20
_DEPLOY_WAIT_S = 60
_DEPLOYED_AT_ONCE = 4
_SAMPLE_S = 5.0
_PAGES, _PAGE_LOOKS = ("/deployments", "/metrics", "/console"), 9
_COLD = re.compile(r" woke after (\d+) ms")


@dataclass
class Watched:
    """What was seen of the workers while the service was loaded."""

    began_at: float = field(default_factory=time.monotonic)
    #: By worker: when (s), and how much memory its hosts and forkservers had (MiB).
    memory_mb: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    #: When a worker was killed (s).
    worker_kills: list[float] = field(default_factory=list)
    host_kills: int = 0
    #: How many models were loaded, and how many of them by two workers that didn't need it, at each look.
    loaded: list[tuple[int, int]] = field(default_factory=list)

    @property
    def most_mb(self) -> float:
        """The most memory of one worker."""
        return max((size for each in self.memory_mb.values() for _, size in each), default=0.0)


class Density:
    """The service; the deployments are named after their ranks, the first has the most jobs."""

    def __init__(self, stack: Stack, options: argparse.Namespace) -> None:
        self.stack = stack
        self.kinds = list(kinds())
        self.kind_of: dict[str, Kind] = {}
        self.watched = Watched()
        self._options = options
        self._draw = random.Random(options.seed)
        host_s, worker_s = options.kill_hosts_s, options.kill_workers_s
        self._host_kills = Repeated(self._kill_host, lambda: self._draw.uniform(0.5, 1.5) * host_s)
        self._worker_kills = Repeated(self.kill_worker, lambda: self._draw.uniform(0.8, 1.2) * worker_s)
        self._redis = redis.Redis.from_url(stack.redis.url)
        self._workers = {name: self._start(name) for name in (f"worker{n}" for n in range(options.workers))}
        for kind in self.kinds:
            document = {"name": kind.name, "runtime": "sklearn", "input_example": kind.rows[0]}
            files = {"artifact": kind.artifact}
            expect(201, stack.api.post("/models", files=files, data={"metadata": json.dumps(document)}))

    def deploy(self, count: int) -> float:
        """Deploy more until there are so many; return how long it took (s)."""
        began, before = time.monotonic(), len(self.kind_of)
        self.kind_of |= {f"d{number:04}": self.kinds[number % len(self.kinds)] for number in range(before, count)}
        settings = {"hosts": {"min": 0, "max": 1}, "idle_s": self._options.idle_s, "events": "off"}

        def deploy(name: str) -> None:
            self.stack.deploy(self.kind_of[name].name, wait_s=_DEPLOY_WAIT_S, endpoint_name=name, **settings)

        with ThreadPoolExecutor(_DEPLOYED_AT_ONCE) as pool:
            list(pool.map(deploy, list(self.kind_of)[before:]))
        return time.monotonic() - began

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample the memory, and which worker has which model, until the end of the block."""
        with Repeated(self._sample, lambda: _SAMPLE_S).meanwhile():
            yield

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Kill hosts and workers until the end of the block, about at the intervals of the options."""
        with self._host_kills.meanwhile(), self._worker_kills.meanwhile():
            yield

    def cold_starts_ms(self) -> list[float]:
        """Return how long each load for waiting jobs took, as the workers' logs say."""
        logs = ((self.stack.logs / f"{name}.log").read_text(errors="replace") for name in self._workers)
        return [float(each) for each in chain.from_iterable(map(_COLD.findall, logs))]

    def pages_ms(self) -> dict[str, float]:
        """Return how long each page takes that shows all deployments: the median of some requests (ms)."""
        return {path: statistics.median(map(self._page_ms, [path] * _PAGE_LOOKS)) for path in _PAGES}

    def _page_ms(self, path: str) -> float:
        began = time.monotonic()
        self.stack.api.get(path).raise_for_status()
        return (time.monotonic() - began) * 1000

    def evictions(self) -> int:
        """Return how many deployments were put to sleep for want of memory, as the workers' logs say."""
        logs = ((self.stack.logs / f"{name}.log").read_text(errors="replace") for name in self._workers)
        return sum(each.count("others need memory") for each in logs)

    def _start(self, name: str) -> Worker:
        return self.stack.start_worker(name, env={"QUEUECAST_WORKER_MEMORY_MB": str(self._options.budget_mb)})

    def _sample(self) -> None:
        at = time.monotonic() - self.watched.began_at
        for name, worker in list(self._workers.items()):
            size = used_mb(worker)
            if size > self._options.budget_mb:
                size = used_mb(worker, stopped=True)
            self.watched.memory_mb.setdefault(name, []).append((at, size))
        self.watched.loaded.append(self.loaded())

    def live_workers(self) -> list[reports.SeenReport]:
        """Return the reports of the workers that live, or have lived a moment ago."""
        with self._redis.pipeline(transaction=False) as pipeline:
            reports.queue_reads(pipeline)
            return reports.parse(pipeline.execute())

    def loaded(self) -> tuple[int, int]:
        """Return how many models are loaded, and how many by two workers although the first doesn't ask for it."""
        having: dict[str, list[bool]] = {}
        for report in self.live_workers():
            for name, endpoint in report["endpoints"].items():
                if any(each["hosts"] and each["state"] == "ready" for each in endpoint["versions"]):
                    having.setdefault(name, []).append(bool(endpoint.get("asks_next")))
        return len(having), sum(len(asks) > 1 and not any(asks) for asks in having.values())

    def _kill_host(self) -> None:
        hosts = [
            host for each in self._workers.values() for pid in processes.children(each.pid)
            for host in processes.children(pid)
        ]  # fmt: skip
        if hosts:
            with suppress(ProcessLookupError):
                os.kill(self._draw.choice(hosts), signal.SIGKILL)
                self.watched.host_kills += 1

    def kill_worker(self, *, restarts: bool = True) -> None:
        """Kill a worker, and start it again unless that is left to `restart_workers`."""
        name = self._draw.choice(list(self._workers))
        self._workers[name].kill()
        self.watched.worker_kills.append(time.monotonic() - self.watched.began_at)
        if restarts:
            self.restart_workers()

    def restart_workers(self) -> None:
        """Start the workers again that were killed."""
        for name, worker in self._workers.items():
            if not worker.running:
                self._workers[name] = self._start(name)


def used_mb(worker: Worker, *, stopped: bool = False) -> float:
    """Return the PSS of all hosts and forkservers of a worker.

    Unless they are `stopped` meanwhile, hosts end and others follow while they are read, and shares of pages move to
    processes that are read later.
    """
    found: list[int] = []
    try:
        for forkserver in processes.children(worker.pid):
            _stop(forkserver, found, really=stopped)
            for pid in processes.children(forkserver):
                _stop(pid, found, really=stopped)
                for child in processes.children(pid):
                    _stop(child, found, really=stopped)
        return sum(processes.own_memory_usage(pid).pss_bytes for pid in set(found)) / MEBIBYTE
    finally:
        for pid in found if stopped else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _stop(pid: int, found: list[int], *, really: bool) -> None:
    with suppress(ProcessLookupError):
        if really:
            os.kill(pid, signal.SIGSTOP)
        found.append(pid)


class Repeated:
    """Something that is done at intervals of the time that blocks take, in a thread; never with an interval of 0.

    The interval goes on from one block to the next: it may be longer than each of them.
    """

    def __init__(self, what: Callable[[], None], interval_s: Callable[[], float]) -> None:
        self._what = what
        self._interval_s = interval_s
        self._left_s = interval_s()

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Do it until the end of the block."""
        stopping = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopping,), daemon=True)
        if self._left_s > 0:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            if thread.is_alive():
                thread.join()

    def _run(self, stopping: threading.Event) -> None:
        began = time.monotonic()
        while not stopping.wait(self._left_s):
            self._what()
            began, self._left_s = time.monotonic(), self._interval_s()
        self._left_s = max(0.001, self._left_s - (time.monotonic() - began))
