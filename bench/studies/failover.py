"""Measure how long submits are refused when the master of Redis is killed, and how long until a job has its outcome.

    python bench/studies/failover.py --down-after-ms 500 5000 --rounds 3

A master, two replicas and three sentinels, an API and a worker. A job is submitted each 20 ms; the times are from
`kill -9` of the master to the first 202 afterwards, and to the outcome of that job.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.failover.conftest import FailingOverStack
from tests.support.models import Echo
from tests.support.servers import replicated_redis
from tests.support.servers.replicated_redis import ReplicatedRedis

_PAUSE_S = 0.02


def measured_s(stack: FailingOverStack) -> tuple[float, float]:
    """Kill the master; return the time to the first 202, and to the outcome of its job."""
    stack.redis.master.kill()
    killed_at = time.monotonic()
    while (answer := stack.api.post("/predict/echo", json={"input": "x"})).status_code != 202:
        time.sleep(_PAUSE_S)
    accepted_s = time.monotonic() - killed_at
    job_id = answer.json()["job_id"]
    while stack.api.get(f"/jobs/{job_id}").json().get("status") != "succeeded":
        time.sleep(_PAUSE_S)
    return accepted_s, time.monotonic() - killed_at


def main() -> None:
    """Measure, and print a row for each round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--down-after-ms", type=int, nargs="+", default=[500, 5_000])
    parser.add_argument("--replicas", type=int, default=0, help="QUEUECAST_REDIS_REPLICAS")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for down_after_ms in options.down_after_ms:
        replicated_redis.DOWN_AFTER_MS = down_after_ms
        with tempfile.TemporaryDirectory() as folder:
            redis = ReplicatedRedis(Path(folder) / "redis")
            env = {"QUEUECAST_REDIS_REPLICAS": str(options.replicas)}
            with FailingOverStack(Path(folder), redis, env) as stack:
                stack.start_worker()
                stack.register("echo", Echo("m"))
                stack.deploy("echo", endpoint_name="echo")
                for _ in range(options.rounds):
                    stack.redis.make_whole()
                    accepted_s, ended_s = measured_s(stack)
                    times = f"202 after {accepted_s:.1f} s, outcome after {ended_s:.1f} s"
                    print(f"{down_after_ms} ms: {times}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
