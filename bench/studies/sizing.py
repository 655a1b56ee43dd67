"""What the parts of a service cost: memory of each process, bytes in Redis a job, processor time a job.

    python bench/studies/sizing.py

Starts a whole service of its own, in about two minutes, and prints the tables of docs/guides/operations.md. Memory is
PSS: a page that several processes share counts in each of them by its part, so that PSS may be added up. RSS counts it
in each of them whole. Jobs of which the bytes are counted answer with their input.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.resources import CpuMeter
from tests.support.calls import expect
from tests.support.models import Same
from tests.support.servers.webhook_receiver import WebhookReceiver, environment
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually

#: Name -> an input of that size, and how many jobs of it are measured.
INPUTS: dict[str, tuple[list[float], int]] = {
    "3 floats": ([0.123456, 0.234567, 0.345678], 5_000),
    "64 floats": ([0.123456] * 64, 5_000),
    "10 kB": ([0.123456] * 1_000, 1_000),
}
EXAMPLES = ("quadratic_predictor", "binary_classifier", "digits_classifier")
CPU_JOBS, CLIENTS = 8_000, 8
WEBHOOKS = 4_000
VECTOR = {"kind": "vector", "dtype": "float"}


@dataclass
class Bytes:
    """What Redis had at some moment."""

    memory: int
    appended: int

    @classmethod
    def now(cls, client: redis.Redis) -> Bytes:
        """Read both."""
        return cls(client.info("memory")["used_memory"], client.info("persistence")["aof_current_size"])


def mib(processes: list[psutil.Process]) -> tuple[float, float]:
    """Return PSS and RSS of processes."""
    found = [each.memory_full_info() for each in processes]
    return sum(each.pss for each in found) / 2**20, sum(each.rss for each in found) / 2**20


def row(*cells: str | float) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(f"{each:,.1f}" if isinstance(each, float) else str(each) for each in cells) + " |")


def heads(*titles: str) -> None:
    """Print the head of a table."""
    print()
    row(*titles)
    print("|---" * len(titles) + "|")


def processes(stack: Stack, worker: Worker) -> None:
    """Print the memory of each process, and what one more host adds."""
    heads("process", "PSS, MiB", "RSS, MiB")
    row("API, after its first requests", *mib([psutil.Process(stack.server.pid)]))
    row("worker", *mib([psutil.Process(worker.pid)]))
    forkserver = psutil.Process(worker.pid).children()
    settle(forkserver)
    row("its first forkserver, without hosts", *mib(forkserver))
    for name in EXAMPLES:
        before = mib(family(worker))[0]
        stack.deploy(name, endpoint_name=name)
        for _ in range(20):
            stack.predict(name, example_of(stack, name))
        first, count_of_processes = mib(family(worker))[0], len(family(worker))
        stack.deploy(name, endpoint_name=name, hosts=3)
        more = (mib(family(worker))[0] - first) / 2
        pid = stack.view(name)["workers"][0]["pids"][0]
        row(f"first host of `{name}`", first - before, mib([psutil.Process(pid)])[1])
        row("… each further host", more, "")
        stack.deploy(name, endpoint_name=name, hosts=1)
        eventually(lambda: len(family(worker)) == count_of_processes, message="the further hosts have ended")  # noqa: B023
    row(f"worker, forkservers and 3 hosts of {len(EXAMPLES)} models", *mib(family(worker)))
    with stack.flower(worker):
        flower = [each for each in psutil.Process().children() if "flower" in " ".join(each.cmdline())]
        row("Flower, without jobs", *mib(flower))


def settle(found: list[psutil.Process]) -> None:
    """Wait until processes grow no more: the forkserver still imports while its worker is ready already."""
    sizes = [0.0]

    def still() -> bool:
        sizes.append(mib(found)[0])
        return sizes[-1] > 15 and sizes[-1] - sizes[-2] < sizes[-1] / 1_000

    eventually(still, 60, interval_s=1, message="its memory stays as it is")


def family(worker: Worker) -> list[psutil.Process]:
    """A worker, its forkservers and its hosts."""
    parent = psutil.Process(worker.pid)
    return [parent, *parent.children(recursive=True)]


def example_of(stack: Stack, name: str) -> Any:
    """The input that a model was registered with."""
    return expect(200, stack.api.get(f"/models/{name}/versions/1"))["input_example"]


def jobs(stack: Stack, client: redis.Redis) -> None:
    """Print what jobs cost in Redis, first while they wait and then when they have ended."""
    heads("a job whose input is", "queued, bytes", "ended and kept, bytes", "append-only file, bytes")
    stack.register("same", Same(), [1.0], signature=VECTOR)
    begun: dict[str, tuple[Bytes, Bytes, int]] = {}
    for number, (name, (value, jobs_count)) in enumerate(INPUTS.items()):
        endpoint = f"same{number}"
        stack.deploy("same", endpoint_name=endpoint, worker_group=endpoint, wait_s=0)
        submit_bulk(stack, endpoint, value, 1)  # what an endpoint has once is no job's
        before = Bytes.now(client)
        submit_bulk(stack, endpoint, value, jobs_count)
        begun[endpoint] = before, Bytes.now(client), jobs_count
        queued = begun[endpoint][1].memory - before.memory
        worker = stack.start_worker(endpoint, group=endpoint)
        eventually(lambda: stack.view(endpoint)["request_count"] > jobs_count, 60, message="jobs have ended")  # noqa: B023
        worker.terminate()
        ended = Bytes.now(client)
        row(name, *(figure / jobs_count for figure in (
            float(queued), float(ended.memory - before.memory), float(ended.appended - before.appended),
        )))  # fmt: skip


def submit_bulk(stack: Stack, endpoint: str, value: Any, jobs_count: int, **more: str) -> None:
    """Submit so many jobs in calls of a thousand."""
    for start in range(0, jobs_count, 1_000):
        body = [{"input": value, **more}] * min(1_000, jobs_count - start)
        expect(202, stack.api.post(f"/predict/{endpoint}/bulk", json=body))


def processor(stack: Stack, worker: Worker) -> None:
    """Print the processor time of a thousand jobs, each a request of its own."""
    heads("model", "API, s", "worker, s", "hosts, s", "Redis, s", "all, s")
    for name in EXAMPLES:
        encoded = json.dumps({"input": example_of(stack, name)})
        hosts = [pid for each in stack.view(name)["workers"] for pid in each["pids"]]
        roles = {
            "API": (stack.server.pid, False),
            "worker": (worker.pid, False),
            "Redis": (stack.redis.pid or 0, False),
        }
        meter = CpuMeter({**roles, **{f"host {pid}": (pid, False) for pid in hosts}})
        done = stack.view(name)["request_count"] + CPU_JOBS
        submit_each(stack.port, name, encoded)
        eventually(lambda: stack.view(name)["request_count"] >= done, 120, message="jobs have ended")  # noqa: B023
        used = {role: ms / CPU_JOBS for role, ms in meter.used_ms().items()}
        host = sum(value for role, value in used.items() if role.startswith("host"))
        found = [used["API"], used["worker"], host, used["Redis"]]
        row(f"`{name}`", *(f"{value:.2f}" for value in (*found, sum(found))))


def webhooks(stack: Stack) -> None:
    """Print what the background process costs; it is suspended until the jobs have ended."""
    name = EXAMPLES[0]
    value = example_of(stack, name)
    background = psutil.Process(stack.start_background().pid)
    with WebhookReceiver() as receiver:
        submit_bulk(stack, name, value, 20, callback_url=receiver.url)
        eventually(lambda: len(receiver.jobs) == 20, 60, message="the first webhooks have come")
        idle = mib([background])
        background.suspend()
        done = stack.view(name)["request_count"] + WEBHOOKS
        submit_bulk(stack, name, value, WEBHOOKS, callback_url=receiver.url)
        eventually(lambda: stack.view(name)["request_count"] >= done, 60, message="jobs have ended")
        meter = CpuMeter({"background": (background.pid, False), "Redis": (stack.redis.pid or 0, False)})
        background.resume()
        eventually(lambda: len(receiver.got) >= WEBHOOKS + 20, 300, message="all webhooks have come")
    used = {role: ms / WEBHOOKS for role, ms in meter.used_ms().items()}
    heads("process", "PSS, MiB", "RSS, MiB")
    row("background process, after its first webhooks", *idle)
    row(f"… after {WEBHOOKS:,}", *mib([background]))
    heads("1,000 webhooks", "background, s", "Redis, s", "all, s")
    row("to one receiver", *(f"{each:.2f}" for each in (used["background"], used["Redis"], sum(used.values()))))


def submit_each(port: int, endpoint: str, encoded: str) -> None:
    """Submit jobs on several connections, one request after the other on each."""
    numbers = count()

    def submit() -> None:
        api = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in _until(numbers, CPU_JOBS):
            api.request("POST", f"/predict/{endpoint}", encoded)
            answer = api.getresponse()
            if answer.status != http.client.ACCEPTED:
                raise SystemExit(f"a submit was answered {answer.status}: {answer.read()!r}")
            answer.read()
        api.close()

    threads = [threading.Thread(target=submit) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _until(numbers: Iterator[int], end: int) -> Iterator[int]:
    while (number := next(numbers)) < end:
        yield number


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder,
        Stack(Path(folder) / "stack", env=environment()) as stack,
        redis.Redis.from_url(stack.redis.url) as client,
    ):
        # A file that is rewritten meanwhile says nothing of what was appended.
        client.config_set("auto-aof-rewrite-percentage", "0")
        print(f"Redis, empty: {client.info('memory')['used_memory_rss'] / 2**20:.1f} MiB (RSS)")
        stack.register_examples()
        worker = stack.start_worker()
        processes(stack, worker)
        processor(stack, worker)
        webhooks(stack)
        jobs(stack, client)


if __name__ == "__main__":
    main()
