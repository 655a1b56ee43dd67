"""Show that the memory of worker and API stays flat over many jobs.

    python bench/studies/memory.py --jobs 200000
    python bench/studies/memory.py --jobs 500000 --api

First the worker alone: so many jobs are put onto its queue, and its memory and its model host's (RSS) are read at
regular steps while it runs them. Then the API (with `--api` this part alone): so many jobs are submitted over HTTP,
while the worker goes on. Prints each slope in bytes a job: of a straight line through the second half of the readings,
when caches and arenas have found their size.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
import redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.load_client import closed_loop, request
from tests.faults.test_neighbours import fill
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

CLIENTS = 16


def submit(port: int, jobs: int) -> None:
    """Submit so many jobs."""
    encoded = request("POST", "/predict/echo", b'{"input": "a"}', Content_Type="application/json")
    load = closed_loop(port, encoded, clients=CLIENTS, seconds=7_200, status=202, requests=jobs)
    asyncio.run(load).check()


def watched(stack: Stack, processes: dict[str, psutil.Process], first: int, jobs: int, steps: int) -> None:
    """Read the memory at each step of so many jobs, the first of which has this number; print the slopes."""
    readings: list[list[float]] = []
    print("jobs done, " + ", ".join(f"{name} MiB" for name in processes))
    for step in range(1, steps + 1):
        done = jobs * step // steps
        wait_for(stack, first + done)
        readings.append([done, *(each.memory_info().rss for each in processes.values())])
        print(", ".join([str(done), *(f"{rss / 2**20:.1f}" for rss in readings[-1][1:])]), flush=True)
    second_half = np.array(readings[len(readings) // 2 :])
    for index, name in enumerate(processes, start=1):
        slope = np.polyfit(second_half[:, 0], second_half[:, index], 1)[0]
        print(f"{name}: {slope:+.1f} bytes a job")


def wait_for(stack: Stack, jobs: int) -> None:
    """Wait until so many jobs have run."""
    eventually(lambda: stack.view("echo")["request_count"] >= jobs, 3_600, interval_s=0.1, message="jobs run")


def main() -> None:
    """Measure, and print the readings and the slopes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--api", action="store_true", help="submit alone, without the jobs that the worker finds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        stack.register("echo", Echo("m"))
        worker = stack.start_worker()
        view = stack.deploy("echo", endpoint_name="echo", result_ttl_s=60)
        host = psutil.Process(view["workers"][0]["pids"][0])
        processes = {"worker": psutil.Process(worker.pid), "host": host}
        found = 0 if options.api else options.jobs
        if found:
            with redis.Redis.from_url(stack.redis.url) as client:
                fill(client, "echo", found)
            watched(stack, processes, 0, found, options.steps)
        submitting = threading.Thread(target=submit, args=(stack.port, options.jobs))
        submitting.start()
        processes["API"] = psutil.Process(stack.server.pid)
        watched(stack, processes, found, options.jobs, options.steps)
        submitting.join()


if __name__ == "__main__":
    main()
