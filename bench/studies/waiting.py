"""Show how far off the estimates of waiting times are, under a steady, a rising and a bursty load.

    python bench/studies/waiting.py

A service with one worker serves three models: one that sleeps 0.1 s for each job (2 hosts), one that sleeps 0.05 s
for each batch and 4 ms for each row in it, and a random forest that gets its jobs one by one. What each can do in a
second is measured first, with a burst. Then jobs come at random times: steadily (70 % of what it can do), rising (from
50 % to 200 %), and in bursts that take two seconds each. The estimate that the 202 of each job tells is compared with
the time from its submit to its start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.load_client import Client, request
from bench.models import FOREST, all_models
from tests.support.models import Paced
from tests.support.service.stack import Stack

_CONNECTIONS = 32
_CALIBRATION_S = 2.0
_BURST_S, _BETWEEN_BURSTS_S = 2.0, 4.0
#: Relative errors are those of waits that somebody notices.
_LONG_WAIT_S = 1.0
_LOOKED_UP_AT_ONCE = 500


@dataclass(frozen=True)
class Endpoint:
    """A deployment, and what it should be able to do in a second; the bench measures that."""

    name: str
    row: Any
    guess_per_s: float


@dataclass(frozen=True)
class Waited:
    """One job: what its 202 said, and what came."""

    job_id: str
    estimated_s: float | None
    waited_s: float


def deploy_all(stack: Stack) -> list[Endpoint]:
    """Deploy the three models."""
    stack.register("sleeper", Paced(0.1, 0.0), runtime_options={"vectorized": True})
    stack.register("batcher", Paced(0.05, 0.004), runtime_options={"vectorized": True})
    forest = all_models()[FOREST]
    stack.register(FOREST, forest.model, input_example=forest.row, runtime="sklearn")
    stack.deploy("sleeper", endpoint_name="sleeper", max_batch_size=1, hosts=2)
    stack.deploy("batcher", endpoint_name="batcher", max_batch_size=32)
    stack.deploy(FOREST, endpoint_name="forest", max_batch_size=1)
    return [Endpoint("sleeper", "x", 20), Endpoint("batcher", "x", 180), Endpoint("forest", forest.row, 60)]


async def submit_at(port: int, endpoint: Endpoint, times_s: Sequence[float]) -> list[tuple[str, float | None]]:
    """Submit a job at each of these times from now; return id and estimated wait of each."""
    encoded = request("POST", f"/predict/{endpoint.name}", json.dumps({"input": endpoint.row}).encode())
    idle: asyncio.Queue[Client] = asyncio.Queue()
    for _ in range(min(_CONNECTIONS, len(times_s))):
        client = Client(port)
        await client.connect()
        idle.put_nowait(client)
    began = time.monotonic()

    async def submit(due_s: float) -> tuple[str, float | None]:
        await asyncio.sleep(began + due_s - time.monotonic())
        client = await idle.get()
        status, answer = await client.ask(encoded)
        idle.put_nowait(client)
        if status != 202:
            raise RuntimeError(f"HTTP {status}: {answer[:300]!r}")
        accepted = json.loads(answer)
        return accepted["job_id"], accepted["queue"]["estimated_wait_s"]

    found = await asyncio.gather(*(submit(each) for each in times_s))
    while not idle.empty():
        idle.get_nowait().close()
    return list(found)


def run(stack: Stack, endpoint: Endpoint, times_s: Sequence[float]) -> list[Waited]:
    """Submit jobs, wait until all have ended, and return what became of each."""
    submitted = asyncio.run(submit_at(stack.port, endpoint, times_s))
    stack.job(submitted[-1][0], 60)
    documents: dict[str, Any] = {}
    for start in range(0, len(submitted), _LOOKED_UP_AT_ONCE):
        ids = [job_id for job_id, _ in submitted[start : start + _LOOKED_UP_AT_ONCE]]
        answer = stack.api.post("/jobs/lookup", json={"job_ids": ids}, params={"wait": 60}).json()
        documents |= {job["job_id"]: job for job in answer["jobs"]}
    return [Waited(job_id, estimated_s, _waited_s(documents[job_id])) for job_id, estimated_s in submitted]


def _waited_s(job: dict[str, Any]) -> float:
    submitted, started = (datetime.fromisoformat(job[name]) for name in ("submitted_at", "started_at"))
    return (started - submitted).total_seconds()


def at_random(rates_per_s: Sequence[float], seconds: float, dice: random.Random) -> Iterator[float]:
    """Yield times of jobs that come independently of each other, at these rates one after the other."""
    for number, rate_per_s in enumerate(rates_per_s):
        step_s = seconds / len(rates_per_s)
        now_s = number * step_s + dice.expovariate(rate_per_s)
        while now_s < (number + 1) * step_s:
            yield now_s
            now_s += dice.expovariate(rate_per_s)


def loads(rate_per_s: float, seconds: float, dice: random.Random) -> dict[str, list[float]]:
    """Return the times of the jobs of each load on an endpoint that can do so many in a second."""
    rising = [rate_per_s * (0.5 + 1.5 * step / 9) for step in range(10)]
    bursts = [each * _BETWEEN_BURSTS_S for each in range(max(1, round(seconds / _BETWEEN_BURSTS_S)))]
    return {
        "steady": list(at_random([0.7 * rate_per_s], seconds, dice)),
        "rising": list(at_random(rising, seconds, dice)),
        "bursty": [start for start in bursts for _ in range(int(_BURST_S * rate_per_s))],
    }


def capacity_per_s(stack: Stack, endpoint: Endpoint) -> float:
    """Return what an endpoint can do in a second: the rate at which a burst is served."""
    count = int(_CALIBRATION_S * endpoint.guess_per_s)
    waits = [each.waited_s for each in run(stack, endpoint, [0.0] * count)]
    return (count - 1) / max(max(waits) - min(waits), 1e-3)


def row(name: str, load: str, jobs: list[Waited]) -> str:
    """Return what is to be said of one load, as a row of the table."""
    known = [(each.estimated_s, each.waited_s) for each in jobs if each.estimated_s is not None]
    errors = [abs(estimated_s - waited_s) for estimated_s, waited_s in known]
    off = [estimated_s - waited_s for estimated_s, waited_s in known]
    relative = [abs(said - came) / came for said, came in known if came > _LONG_WAIT_S]
    share = f"{100 * len(known) / len(jobs):.0f} %"
    waits = f"{statistics.median(each.waited_s for each in jobs):.2f} / {max(each.waited_s for each in jobs):.2f}"
    long = f"{_quantile(relative, 50):.0%} / {_quantile(relative, 90):.0%} ({len(relative)})" if relative else "–"
    error = f"{_quantile(errors, 50):.2f} / {_quantile(errors, 90):.2f}"
    return f"| {name} | {load} | {len(jobs)} | {share} | {waits} | {error} | {long} | {statistics.mean(off):+.2f} |"


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def main() -> None:
    """Measure, and print a row for each load on each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each load goes on (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="another one has the jobs come at other times")
    parser.add_argument("--models", nargs="+", default=["sleeper", "batcher", "forest"], help="these alone")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        stack.start_worker()
        print("| model | load | jobs | with an estimate | waited s (median / longest) | off by s (median / p90) "
              "| off by, of waits over 1 s (median / p90, jobs) | mean of estimate - wait, s |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|")
        for endpoint in deploy_all(stack):
            if endpoint.name not in options.models:
                continue
            print(row(endpoint.name, "first burst", run(stack, endpoint, [0.0] * int(endpoint.guess_per_s))))
            rate_per_s = capacity_per_s(stack, endpoint)
            name = f"{endpoint.name} ({rate_per_s:.0f} jobs/s)"
            for load, times_s in loads(rate_per_s, options.seconds, dice).items():
                print(row(name, load, run(stack, endpoint, times_s)), flush=True)


if __name__ == "__main__":
    main()
