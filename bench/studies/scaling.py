"""Show how hosts follow a tenfold step of load, and what they cost in comparison with a fixed number of hosts.

    make bench-scaling        # or: python bench/studies/scaling.py --seconds 60

A model that sleeps 0.1 s for each job, so that more hosts get through more also on a full processor, is served by 0 to
8 hosts, then by fixed numbers of hosts. Jobs come at random times: at first 3 a second, then ten times as many, then 3
again. A step is over when no job waits longer than `target_wait_s` any more. Host-seconds are what was kept running.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.calls import expect
from tests.support.models import Paced
from tests.support.service.stack import Stack

_PREDICT_S = 0.1
_BASE_PER_S, _STEP = 3.0, 10
_TARGET_WAIT_S, _IDLE_S = 1.0, 10.0
_SAMPLE_S = 0.25
_WAIT_S = 60
#: So many hosts are few.
_FEW = 2
_ROW = "{:<8}{:>6}{:>14}{:>16}{:>24}{:>14}"


@dataclass
class Run:
    """What was seen while one deployment got the load."""

    #: When each job was due (s), and how long it waited for a host (s).
    waits: list[tuple[float, float]] = field(default_factory=list)
    #: When (s), and how many hosts there were.
    hosts: list[tuple[float, int]] = field(default_factory=list)

    def host_seconds(self) -> float:
        """Return what the hosts add up to."""
        pairs = zip(self.hosts, self.hosts[1:], strict=False)
        return sum(count * (later - at) for (at, count), (later, _) in pairs)

    def most_hosts(self) -> int:
        """Return how many there were at most."""
        return max(count for _, count in self.hosts)

    def late_for_s(self, step_at_s: float) -> float:
        """Return how long after the step jobs still came that waited longer than the target."""
        late = [at for at, waited_s in self.waits if waited_s > _TARGET_WAIT_S and at >= step_at_s]
        return max(late) - step_at_s if late else 0.0

    def back_after_s(self, end_at_s: float, most: int) -> float:
        """Return how long after the end of the step there were at most so many hosts for good."""
        more = [at for at, count in self.hosts if count > most and at >= end_at_s]
        return max(more) - end_at_s if more else 0.0


def times_s(seconds: float, draw: random.Random) -> Iterator[float]:
    """Yield when jobs are due: in the middle third of the time ten times as many."""
    at = 0.0
    while True:
        at += draw.expovariate(_BASE_PER_S * (_STEP if seconds <= at < 2 * seconds else 1))
        if at >= 3 * seconds:
            return
        yield at


def offered(stack: Stack, name: str, seconds: float, seed: int) -> Run:
    """Offer the load to a deployment."""
    run, began = Run(), time.monotonic()
    with _sampling(stack, name, run, began):
        asyncio.run(_offer(stack.url, name, list(times_s(seconds, random.Random(seed))), run, began))
    return run


async def _offer(url: str, name: str, due_s: list[float], run: Run, began: float) -> None:
    async def job(api: httpx.AsyncClient, at_s: float) -> None:
        answer = await api.post(f"/predict/{name}", json={"input": "x"}, headers={"Prefer": f"wait={_WAIT_S}"})
        assert answer.status_code == 200, answer.text
        run.waits.append((at_s, time.monotonic() - began - at_s - _PREDICT_S))

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, timeout=_WAIT_S + 30, limits=limits) as api:
        tasks = []
        for at_s in due_s:
            await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))
            tasks.append(asyncio.create_task(job(api, at_s)))
        await asyncio.gather(*tasks)


@contextmanager
def _sampling(stack: Stack, name: str, run: Run, began: float) -> Iterator[None]:
    """Note how many hosts a deployment has, until the end of the block."""
    stopping = threading.Event()

    def sample() -> None:
        with httpx.Client(base_url=stack.url, timeout=30) as api:
            while not stopping.wait(_SAMPLE_S):
                view = expect(200, api.get(f"/deployments/{name}"))
                run.hosts.append((time.monotonic() - began, _hosts(view)))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _hosts(view: dict[str, Any]) -> int:
    return sum(worker["hosts"] for worker in view["workers"])


def main() -> None:
    """Measure a range of hosts and fixed numbers of hosts in turn, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each third: 3 jobs a second, 30, and 3")
    parser.add_argument("--fixed", type=int, nargs="*", default=[4, 8], help="fixed numbers of hosts to compare with")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    whole, settings = options.seconds, {"max_batch_size": 1, "max_batch_delay_ms": 0}
    on_demand = {"hosts": {"min": 0, "max": 8}, "idle_s": _IDLE_S, "target_wait_s": _TARGET_WAIT_S}
    wanted: dict[str, Any] = {"0-8": on_demand}
    wanted |= {str(count): {"hosts": count} for count in options.fixed}
    print(_ROW.format("hosts", "most", "late for (s)", "down after (s)", "p50, p95 of waits (s)", "host-seconds"))
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        stack.start_worker()
        stack.register("sleeper", Paced(_PREDICT_S, 0.0), runtime_options={"vectorized": True})
        for what, hosts in wanted.items():
            name = f"hosts{what}"
            stack.deploy("sleeper", endpoint_name=name, **settings, **hosts)
            run = offered(stack, name, whole, options.seed)
            stack.undeploy(name)
            waits = [waited_s for _, waited_s in run.waits]
            waited = ", ".join(f"{np.quantile(waits, q):.2f}" for q in (0.5, 0.95))
            late_s, down_s = run.late_for_s(whole), run.back_after_s(2 * whole, _FEW)
            down = f"{down_s:.1f}" if "-" in what else "-"
            cost = f"{run.host_seconds():.0f}"
            print(_ROW.format(what, run.most_hosts(), f"{late_s:.1f}", down, waited, cost), flush=True)
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
