"""Show what a long backlog of a slow deployment does to a quick neighbour on the same worker.

    python bench/studies/neighbours.py --backlog 100000 --rounds 3

Each round measures the latency of the neighbour's jobs (submitted one by one over HTTP, `Prefer: wait`) while the slow
deployment is idle, and again while its queue holds the backlog and its host predicts all the time. The ratio
of the two in one round is what counts; the machine's speed is in both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.test_neighbours import fill
from tests.support.models import Echo
from tests.support.service.stack import Stack
from workers.queues.naming import queue_name


def latencies_ms(stack: Stack, count: int) -> list[float]:
    """Return how long each of the neighbour's jobs took."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        stack.predict("quick", str(number))
        found.append((time.perf_counter() - began) * 1000)
    return found


def quantiles(values: list[float]) -> tuple[float, float]:
    """Return p50 and p95."""
    cuts = statistics.quantiles(values, n=20)
    return cuts[9], cuts[18]


def main() -> None:
    """Measure, and print a row for each round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=200, help="the neighbour's jobs of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        stack.register("slow", Echo("slow", seconds=0.2))
        stack.register("quick", Echo("quick"))
        stack.start_worker()
        for name in ("slow", "quick"):
            stack.deploy(name, endpoint_name=name)
        latencies_ms(stack, options.jobs)  # warms everything up
        print("| round | p50 / p95 ms alone | p50 / p95 ms beside the backlog | ratio of the p95 |")
        print("|---|---|---|---|")
        for number in range(options.rounds):
            alone = quantiles(latencies_ms(stack, options.jobs))
            with redis.Redis.from_url(stack.redis.url) as client:
                fill(client, "slow", options.backlog)
                beside = quantiles(latencies_ms(stack, options.jobs))
                client.delete(queue_name("slow"))
            ratios.append(beside[1] / alone[1])
            print(
                f"| {number + 1} | {alone[0]:.1f} / {alone[1]:.1f} | {beside[0]:.1f} / {beside[1]:.1f} "
                f"| {ratios[-1]:.2f} |",
                flush=True,
            )
    print(f"\nMedian ratio of the p95: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
