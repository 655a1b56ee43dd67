"""Break a running service again and again at a steady load, then audit every job that it accepted.

    make soak MINUTES=30            # or: python bench/soak.py --minutes 30 --report docs/soak.json

One API, two workers and a private Redis run as processes of their own. While jobs are submitted at a steady
rate, faults are drawn at random (`--seed` repeats a run): workers, hosts, Redis and the API are killed with
SIGKILL, stopped with SIGSTOP or told to end, all connections are dropped, versions are swapped, jobs that
kill their host are mixed in. After each fault a probe job measures how long the service needs until it
answers again. At the end every accepted job must have exactly one end, and the right one, and nothing may be
left in queues, leases, bookkeeping or hosts. Exit code 1 if the audit finds anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults import audit
from tests.support.load import Accepted
from tests.support.models import Mortal, Recorder
from tests.support.stack import Stack, Worker

LEASE_S = 5.0
RECOVERY_LIMIT_S = 120.0
AUDIT_LIMIT_S = 120.0
POISON_SHARE = 0.002
ENDPOINT, POISON_ENDPOINT = "soak", "poison"
SETTINGS = {
    "QUEUECAST_LEASE_S": str(LEASE_S),
    "QUEUECAST_SWEEP_INTERVAL_S": "5",
    "QUEUECAST_RECONCILE_INTERVAL_S": "1",
    "QUEUECAST_SHUTDOWN_GRACE_S": "3",
}


@dataclass
class Traffic:
    """Submits jobs at a steady rate; each is sent again, under the same key, until it is answered."""

    url: str
    rate: float
    seed: int
    accepted: list[Accepted] = field(default_factory=list)
    poison: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Submit until stopped."""
        draw, number, due = random.Random(self.seed), 0, time.monotonic()
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due += 1 / self.rate
            if draw.random() < POISON_SHARE:
                self.poison += filter(None, [self._submit(POISON_ENDPOINT, "exit")])
            elif job_id := self._submit(ENDPOINT, f"row-{number}"):
                self.accepted.append(Accepted(job_id, f"row-{number}"))
            number += 1

    def _submit(self, endpoint_name: str, row: str) -> str | None:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while not self.stopping.is_set():
            try:
                answer = httpx.post(
                    f"{self.url}/predict/{endpoint_name}", json={"input": row}, headers=headers, timeout=10
                )
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code in (200, 202):
                    return str(answer.json()["job_id"])
            self.stopping.wait(0.1)
        return None


class Faults:
    """What can be done to the service; each returns once the broken part has been started again."""

    def __init__(self, stack: Stack, draw: random.Random) -> None:
        self.stack = stack
        self.draw = draw
        self.workers = [stack.start_worker("one"), stack.start_worker("two")]
        self.kinds: dict[str, Callable[[], None]] = {
            "kill -9 a worker": lambda: self._replace(signal.SIGKILL),
            "kill -9 both workers": self.kill_both_workers,
            "SIGTERM a worker": lambda: self._replace(signal.SIGTERM),
            "SIGSTOP a worker, for longer than its lease": lambda: self._pause(self._worker().pid, LEASE_S * 1.5),
            "kill -9 a model host": self.kill_host,
            "kill -9 Redis": self.kill_redis,
            "SIGSTOP Redis for 3 s": lambda: self._pause(self._redis_pid(), 3),
            "drop all connections to Redis": self.drop_connections,
            "kill -9 the API": self.kill_api,
            "SIGTERM the API": self.end_api,
            "swap to another version": self.swap,
        }

    def kill_both_workers(self) -> None:
        """Leave nobody who holds anything."""
        for worker in self.workers:
            worker.kill()
        self.workers = [self.stack.start_worker(worker.name) for worker in self.workers]

    def kill_host(self) -> None:
        """Kill a model host while it may be predicting."""
        hosts = [each for worker in self.workers for each in worker.descendants() if len(each.children()) == 0]
        if hosts:
            try:
                self.draw.choice(hosts).kill()
            except psutil.NoSuchProcess:
                return

    def kill_redis(self) -> None:
        """Kill Redis, wait a little, and start it on the same data."""
        os.kill(self._redis_pid(), signal.SIGKILL)
        self.stack.redis.stop()
        time.sleep(self.draw.uniform(0, 3))
        self.stack.redis.start()

    def drop_connections(self) -> None:
        """Have Redis close every connection."""
        with redis.Redis.from_url(self.stack.redis.url) as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def kill_api(self) -> None:
        """Kill the API in the middle of whatever it answers."""
        self.stack.server.kill()
        self.stack.start_server()

    def end_api(self) -> None:
        """End the API as an upgrade does."""
        self.stack.server.terminate()
        self.stack.start_server()

    def swap(self) -> None:
        """Bind the endpoint to its other version."""
        now = self.stack.view(ENDPOINT)["version"]
        self.stack.deploy("recorder", endpoint_name=ENDPOINT, version="2" if now == "1" else "1")

    def _replace(self, number: signal.Signals) -> None:
        worker = self._worker()
        worker.send(number)
        worker.wait()
        self.workers[self.workers.index(worker)] = self.stack.start_worker(worker.name)

    def _worker(self) -> Worker:
        return self.draw.choice(self.workers)

    def _redis_pid(self) -> int:
        pid = self.stack.redis.pid
        assert pid is not None
        return pid

    def _pause(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


def recovery_s(url: str, began: float) -> float:
    """Return how long after `began` a new job has its outcome.

    Raises:
        AssertionError: none has within the limit.
    """
    while time.monotonic() - began < RECOVERY_LIMIT_S:
        try:
            answer = httpx.post(
                f"{url}/predict/{ENDPOINT}", json={"input": "probe"}, headers={"Prefer": "wait=60"}, timeout=70
            )
            if answer.status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the service did not recover in {RECOVERY_LIMIT_S:g} s")


def soak(stack: Stack, options: argparse.Namespace, runs: Path) -> dict[str, Any]:
    """Run the mix, audit, and return the report."""
    for _ in range(2):
        stack.register("recorder", Recorder(runs, seconds=0.002))
    stack.register("mortal", Mortal("m"))
    faults = Faults(stack, random.Random(options.seed))
    stack.deploy("recorder", endpoint_name=ENDPOINT, version="1", max_batch_size=16)
    stack.deploy("mortal", endpoint_name=POISON_ENDPOINT, max_attempts=2)
    traffic = Traffic(stack.url, options.rate, options.seed)
    submitting = threading.Thread(target=traffic.run, name="traffic")
    submitting.start()
    recoveries: dict[str, list[float]] = defaultdict(list)
    ends_at = time.monotonic() + options.minutes * 60
    try:
        while time.monotonic() < ends_at:
            kind = faults.draw.choice(list(faults.kinds))
            began = time.monotonic()
            faults.kinds[kind]()
            took_s = recovery_s(stack.url, began)
            recoveries[kind].append(took_s)
            print(
                f"{time.strftime('%H:%M:%S')} {kind}: {took_s:.1f} s; {len(traffic.accepted)} jobs so far", flush=True
            )
            time.sleep(faults.draw.uniform(1, 6))
    finally:
        traffic.stopping.set()
        submitting.join()
    problems, slowest_job_s = audited(stack, traffic)
    executed = Counter(row for row in runs.read_text().split() if row.startswith("row-"))
    return {
        "minutes": options.minutes,
        "seed": options.seed,
        "rate_per_s": options.rate,
        "lease_s": LEASE_S,
        "accepted": len(traffic.accepted),
        "poison_accepted": len(traffic.poison),
        "answers_to_submits": dict(traffic.answers),
        "executed_more_than_once": sum(count > 1 for count in executed.values()),
        "extra_executions": sum(count - 1 for count in executed.values()),
        "faults": {
            kind: {
                "times": len(found),
                "median_recovery_s": round(statistics.median(found), 2),
                "longest_recovery_s": round(max(found), 2),
            }
            for kind, found in sorted(recoveries.items())
        },
        "longest_recovery_s": round(max(map(max, recoveries.values())), 2) if recoveries else None,
        "slowest_job_s": slowest_job_s,
        "problems": problems,
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def audited(stack: Stack, traffic: Traffic) -> tuple[list[str], float]:
    """Return what the audit finds wrong (nothing, hopefully), and how long the slowest job took, in seconds."""
    problems: list[str] = []
    slowest_job_s = 0.0
    try:
        documents = audit.check(stack, ENDPOINT, traffic.accepted, lambda row: ["", row], AUDIT_LIMIT_S)
        slowest_job_s = max(each["outcome"]["timing"]["total_ms"] for each in documents) / 1000
        problems += [
            f"a poison job ended otherwise: {document}"
            for document in stack.ended(traffic.poison)
            if (document["error"] or {}).get("code") != "poison_job"
        ]
        if left := audit.leftovers(stack, POISON_ENDPOINT, traffic.poison):
            problems.append(f"left of the poison endpoint: {left}")
    except AssertionError as error:
        problems.append(str(error)[:2_000])
    family = [process for worker in stack.workers if worker.running for process in worker.descendants()]
    for name in (ENDPOINT, POISON_ENDPOINT):
        stack.undeploy(name)
    # What is left of each worker is the process that hosts are forked from.
    hosts = [each.pid for each in family if each.is_running() and each.parent() and each.children() == []]
    if len(hosts) > len([worker for worker in stack.workers if worker.running]):
        problems.append(f"host processes are left: {hosts}")
    return problems, round(slowest_job_s, 2)


def main() -> int:
    """Soak, print the report, write it if asked; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=40, help="submits per second")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--report", type=Path, help="where to write the report as JSON")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="queuecast-soak-"))
    with Stack(folder / "stack", env=SETTINGS) as stack:
        report = soak(stack, options, folder / "runs")
        if report["problems"]:
            print(stack.last_logs(200), file=sys.stderr)
    text = json.dumps(report, indent=2)
    print(text)
    if options.report:
        options.report.write_text(text + "\n", encoding="utf-8")
    if report["problems"]:
        print(f"The audit has found something; logs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
