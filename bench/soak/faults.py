"""The faults of a soak; each undoes itself and starts again the processes that it ended."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import psutil
import redis

from bench.soak import traffic
from bench.soak.neighbour import Neighbour
from bench.soak.service import LEASE_S, Service
from tests.support.servers.proxy import Proxy
from tests.support.service.processes import no_more_files
from tests.support.service.stack import Worker

_STOPPED_S = 1.5 * LEASE_S
_SHORTAGE_S = (3, 8)
_SLOW_LINK_S = 12.0
#: So slow that a large input or outcome takes seconds.
_SLOW_BYTES_PER_S = (500_000, 2_000_000)
_DELAY_S = (0.05, 0.2)
_STALL_S = (1, 8)


class Faults:
    """The kinds of faults, by their names in the report; each call returns once its fault is over.

    Args:
        service: the service to break.
        neighbour: puts wrong messages onto queues.
        draw: the source of chance; its seed repeats a run.

    Attributes:
        ended_of_shortage: the number of workers that ended for want of file descriptors.
    """

    def __init__(self, service: Service, neighbour: Neighbour, draw: random.Random) -> None:
        self._service = service
        self._stack = service.stack
        self._draw = draw
        self.ended_of_shortage = 0
        self.kinds: dict[str, Callable[[], None]] = {
            "kill -9 a worker": lambda: self._end_worker(signal.SIGKILL),
            "kill -9 both workers": self._kill_both_workers,
            "SIGTERM a worker": lambda: self._end_worker(signal.SIGTERM),
            "SIGSTOP a worker past its lease": lambda: self._stop_process(self._worker().pid, _STOPPED_S),
            "SIGSTOP a worker and its hosts past its lease": lambda: self._stop_workers([self._worker()]),
            "SIGSTOP both workers and their hosts past their leases": lambda: self._stop_workers(service.workers),
            "kill -9 a model host": lambda: self._kill_host(self._worker()),
            "no file descriptors left in a worker that loses a host and its connections": self._starve_worker,
            "no file descriptors left in the API, which loses its connections": self._starve_api,
            "kill -9 Redis": self._kill_redis,
            "SIGSTOP Redis for 3 s": lambda: self._stop_process(self._redis_pid(), 3),
            "drop all connections to Redis": self._drop_connections,
            "slow links to Redis": self._slow_links,
            "a link to Redis that answers late": self._delay_link,
            "a link to Redis that stalls": self._stall_link,
            "a link to Redis that is cut": lambda: self._link().cut(),
            "kill -9 the API": self._kill_api,
            "SIGTERM the API": self._end_api,
            "swap to another version": self._swap,
            "junk on a queue": neighbour.send_junk,
            "compressed bombs on a queue": neighbour.send_bombs,
            "jobs whose record is of the wrong type": neighbour.spoil_records,
        }

    def in_turn(self) -> Iterator[str]:
        """Yield the names of the kinds for ever: each once a round, in a random order."""
        while True:
            yield from self._draw.sample(list(self.kinds), len(self.kinds))

    def _end_worker(self, number: signal.Signals) -> None:
        worker = self._worker()
        worker.send(number)
        worker.wait()
        self._service.replace(worker)

    def _kill_both_workers(self) -> None:
        workers = list(self._service.workers)
        for worker in workers:
            worker.kill()
        for worker in workers:
            self._service.replace(worker)

    def _stop_workers(self, workers: Iterable[Worker]) -> None:
        """Stop whole workers, as a sleeping machine does, and wake them after their leases have ended."""
        with ExitStack() as stopped:
            for worker in workers:
                for pid in [worker.pid, *(each.pid for each in worker.descendants())]:
                    stopped.enter_context(_stopped(pid))
            time.sleep(_STOPPED_S)

    def _stop_process(self, pid: int, seconds: float) -> None:
        with _stopped(pid):
            time.sleep(seconds)

    def _kill_host(self, worker: Worker) -> None:
        hosts = [each for each in worker.descendants() if not each.children()]
        if hosts:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._draw.choice(hosts).kill()

    def _starve_worker(self) -> None:
        """Take a worker's file descriptors away; if it ends (as Celery's may), start it again, as systemd does."""
        worker = self._worker()
        with no_more_files(psutil.Process(worker.pid), even_for_closed=True):
            self._kill_host(worker)
            self._service.links[worker.name].cut()
            time.sleep(self._draw.uniform(*_SHORTAGE_S))
        self.ended_of_shortage += self._service.start_ended_workers()

    def _starve_api(self) -> None:
        with no_more_files(psutil.Process(self._stack.server.pid), even_for_closed=True):
            self._service.links["api"].cut()
            time.sleep(self._draw.uniform(*_SHORTAGE_S))

    def _kill_redis(self) -> None:
        """Kill Redis, wait a little, and start it on the same data."""
        os.kill(self._redis_pid(), signal.SIGKILL)
        self._stack.redis.stop()
        time.sleep(self._draw.uniform(0, 3))
        self._stack.redis.start()

    def _drop_connections(self) -> None:
        with redis.Redis.from_url(self._stack.redis.url) as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def _slow_links(self) -> None:
        """Make one link slow, or all of them."""
        links = self._draw.choice([[self._link()], list(self._service.links.values())])
        try:
            for link in links:
                link.bytes_per_s = self._draw.uniform(*_SLOW_BYTES_PER_S)
            time.sleep(_SLOW_LINK_S)
        finally:
            for link in links:
                link.bytes_per_s = math.inf

    def _delay_link(self) -> None:
        link = self._link()
        link.delay_s = self._draw.uniform(*_DELAY_S)
        try:
            time.sleep(_SLOW_LINK_S)
        finally:
            link.delay_s = 0.0

    def _stall_link(self) -> None:
        link = self._link()
        link.stall()
        try:
            time.sleep(self._draw.uniform(*_STALL_S))
        finally:
            link.resume()

    def _kill_api(self) -> None:
        self._stack.server.kill()
        self._stack.start_server()

    def _end_api(self) -> None:
        self._stack.server.terminate()
        self._stack.start_server()

    def _swap(self) -> None:
        now = self._stack.view(traffic.SMALL)["version"]
        self._stack.deploy("recorder", endpoint_name=traffic.SMALL, version="2" if now == "1" else "1")

    def _worker(self) -> Worker:
        return self._draw.choice(self._service.workers)

    def _link(self) -> Proxy:
        return self._draw.choice(list(self._service.links.values()))

    def _redis_pid(self) -> int:
        pid = self._stack.redis.pid
        assert pid is not None
        return pid


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Keep a process from running; ignore one that has just ended, such as a replaced host."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
