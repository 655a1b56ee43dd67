"""Show that the memory of worker and API stays flat over many jobs.

    python bench/memory.py --jobs 200000

Submits jobs over HTTP from several threads while one worker runs them, reads the memory (RSS) of the API, the
worker and its model host at regular steps, and prints each slope in bytes a job: of a straight line through the
second half of the readings, when caches and arenas have found their size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.models import Echo
from tests.support.stack import Stack
from tests.support.waiting import eventually

THREADS = 4


def submit(url: str, numbers: count[int], jobs: int) -> None:
    """Submit until all jobs are."""
    with httpx.Client(base_url=url, timeout=60) as api:
        while (number := next(numbers)) < jobs:
            api.post("/predict/echo", json={"input": str(number)}).raise_for_status()


def wait_for(stack: Stack, jobs: int) -> None:
    """Wait until so many jobs have run."""
    eventually(lambda: stack.view("echo")["request_count"] >= jobs, 3_600, interval_s=0.2, message="jobs run")


def main() -> None:
    """Measure, and print the readings and the slopes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    readings: list[list[float]] = []
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        stack.register("echo", Echo("m"))
        worker = stack.start_worker()
        view = stack.deploy("echo", endpoint_name="echo", result_ttl_s=60)
        host = psutil.Process(view["workers"][0]["pids"][0])
        processes = {"API": psutil.Process(stack.server.pid), "worker": psutil.Process(worker.pid), "host": host}
        numbers = count()
        submitting = [threading.Thread(target=submit, args=(stack.url, numbers, options.jobs)) for _ in range(THREADS)]
        for thread in submitting:
            thread.start()
        print("jobs done, " + ", ".join(f"{name} MiB" for name in processes))
        for step in range(1, options.steps + 1):
            goal = options.jobs * step // options.steps
            wait_for(stack, goal)
            readings.append([goal, *(each.memory_info().rss for each in processes.values())])
            print(", ".join([str(goal), *(f"{rss / 2**20:.1f}" for rss in readings[-1][1:])]), flush=True)
        for thread in submitting:
            thread.join()
    second_half = np.array(readings[len(readings) // 2 :])
    for index, name in enumerate(processes, start=1):
        slope = np.polyfit(second_half[:, 0], second_half[:, index], 1)[0]
        print(f"{name}: {slope:+.1f} bytes a job")


if __name__ == "__main__":
    main()
