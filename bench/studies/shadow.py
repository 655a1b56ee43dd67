"""Show what a full shadow does to the callers of a deployment: their p95 with and without it.

    python bench/studies/shadow.py --rounds 5

Each round measures the latency of jobs (submitted one by one over HTTP, `Prefer: wait`) without a candidate, and again
while another version gets a copy of every job. The ratio of the two in one round is what counts; the machine's speed is
in both. The limit is 1.05, on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.models import Echo
from tests.support.service import trials
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

_NAME = "classifier"
_MODEL_S = 0.005


def p95_ms(stack: Stack, count: int) -> float:
    """Return the 95th percentile of the jobs' latencies."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        stack.predict(_NAME, str(number))
        found.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(found, n=20)[18]


def main() -> None:
    """Measure, and print a row for each round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=400, help="the jobs of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        stack.register(_NAME, Echo("1", seconds=_MODEL_S))
        stack.register(_NAME, Echo("2", seconds=_MODEL_S))
        stack.start_worker()
        stack.deploy(_NAME, version="1", endpoint_name=_NAME)
        p95_ms(stack, options.jobs)  # warms everything up
        print("| round | p95 ms alone | p95 ms with a full shadow | ratio |")
        print("|---|---|---|---|")
        for number in range(options.rounds):
            alone = p95_ms(stack, options.jobs)
            trials.place(stack, _NAME, weight=0.0, shadow_share=1.0)
            beside = p95_ms(stack, options.jobs)
            trials.remove(stack, _NAME)
            eventually(lambda: len(stack.view(_NAME)["workers"]) == 1, 30, message="the candidate is gone")
            ratios.append(beside / alone)
            print(f"| {number + 1} | {alone:.2f} | {beside:.2f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nMedian ratio of the p95: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
