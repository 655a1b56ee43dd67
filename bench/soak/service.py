"""The service that is broken: an API and two workers, each with a link of its own to a private Redis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.soak import traffic
from tests.support.models import Mortal, Recorder, Resized
from tests.support.servers.proxy import Proxy
from tests.support.service.stack import Stack, Worker

LEASE_S = 5.0
WORKER_NAMES = ("one", "two")
SETTINGS = {
    "QUEUECAST_LEASE_S": str(LEASE_S),
    "QUEUECAST_SWEEP_INTERVAL_S": "5",
    "QUEUECAST_RECONCILE_INTERVAL_S": "1",
    "QUEUECAST_SHUTDOWN_GRACE_S": "3",
}
_SMALL_S, _SLOW_S = 0.002, 1.0


class Service:
    """The running service, and the ways to start its parts again.

    Attributes:
        stack: its processes.
        links: the proxies to Redis of the API ("api") and of each worker (its name).
        workers: the workers that should be running.
        runs: the file into which the models write each row that they run.
    """

    def __init__(self, stack: Stack, links: dict[str, Proxy], runs: Path) -> None:
        self.stack = stack
        self.links = links
        self.runs = runs
        self.workers = [self.start_worker(name) for name in WORKER_NAMES]

    def start_worker(self, name: str) -> Worker:
        """Start a worker behind its link; return when it consumes."""
        return self.stack.start_worker(name, env={"QUEUECAST_REDIS_URL": _url(self.links[name])})

    def start_ended_workers(self) -> int:
        """Start the workers again that ended by themselves, as a supervisor does; return how many."""
        ended = [worker for worker in self.workers if not worker.running]
        for worker in ended:
            self.replace(worker)
        return len(ended)

    def replace(self, worker: Worker) -> None:
        """Start a worker again after its end."""
        self.workers[self.workers.index(worker)] = self.start_worker(worker.name)

    def deploy_all(self) -> None:
        """Register the models and deploy the endpoints of all traffic."""
        for _ in range(2):
            self.stack.register("recorder", Recorder(self.runs, seconds=_SMALL_S))
        self.stack.register("slow", Recorder(self.runs, seconds=_SLOW_S))
        self.stack.register("mortal", Mortal("m"))
        self.stack.register("resized", Resized(), traffic.resized_row(0))
        self.stack.deploy("recorder", endpoint_name=traffic.SMALL, version="1", max_batch_size=16)
        # Each killed worker costs its jobs an attempt; ten lost in a row are no bad luck.
        self.stack.deploy("slow", endpoint_name=traffic.SLOW, max_batch_size=2, max_attempts=10)
        self.stack.deploy("mortal", endpoint_name=traffic.POISON, max_attempts=2)
        self.stack.deploy(
            "resized", endpoint_name=traffic.LARGE, max_batch_size=4, result_ttl_s=traffic.LARGE_OUTCOMES_KEPT_S
        )

    def ended_by_themselves(self) -> list[str]:
        """Describe the processes that ended without being told to."""
        children = {"the API": self.stack.server, **{f"worker {each.name}": each for each in self.workers}}
        return [f"{name} ended with {child.exit_code}" for name, child in children.items() if not child.running]


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """Run the service, with its endpoints deployed; ends every process and every link."""
    stack = Stack(folder / "stack", env=SETTINGS)
    with ExitStack() as closing:
        links = {
            name: closing.enter_context(Proxy(stack.redis.port, bytes_per_s=math.inf))
            for name in ("api", *WORKER_NAMES)
        }
        stack.env["QUEUECAST_REDIS_URL"] = _url(links["api"])
        closing.enter_context(stack)
        service = Service(stack, links, folder / "runs")
        service.deploy_all()
        yield service


def _url(link: Proxy) -> str:
    return f"redis://127.0.0.1:{link.port}/0"
