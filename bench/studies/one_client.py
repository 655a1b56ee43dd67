"""Count what one job of one client that waits costs: processor time, switches between threads, calls of Redis.

    python -m bench.studies.one_client --jobs 500

Counts hold on a machine that does other things too, where times from step to step (`python -m
bench.studies.profiles.breakdown`) don't.
A switch is one that a thread asks for: it waits for another thread, another process, or the network.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from bench.load_client import Client
from bench.models import QUADRATIC
from bench.resources import CpuMeter
from bench.systems.queuecast import Queuecast

_WARM_UP_JOBS = 100
#: Time for what follows a job: events, counters.
_SETTLE_S = 0.5


@dataclass(frozen=True)
class Costs:
    """What each job has cost, by role of a process or by command of Redis."""

    p50_ms: float
    cpu_ms: Mapping[str, float]
    switches: Mapping[str, float]
    calls: Mapping[str, float]


class _Counters:
    """What has been counted so far."""

    def __init__(self, system: Queuecast, client: redis.Redis) -> None:
        self._roles = {role: pid for role, (pid, _) in system.processes().items()}
        self._meter = CpuMeter({role: (pid, False) for role, pid in self._roles.items()})
        self._client = client
        self._switches, self._calls = self._read_switches(), self._read_calls()

    def since(self, jobs: int, p50_ms: float) -> Costs:
        """Return the costs of each of so many jobs."""
        cpu_ms = {role: ms / jobs for role, ms in self._meter.used_ms().items()}
        switches = {role: count / jobs for role, count in (self._read_switches() - self._switches).items()}
        calls = {name: count / jobs for name, count in (self._read_calls() - self._calls).items()}
        return Costs(p50_ms, cpu_ms, switches, calls)

    def _read_switches(self) -> Counter[str]:
        return Counter({role: _voluntary_switches(pid) for role, pid in self._roles.items()})

    def _read_calls(self) -> Counter[str]:
        stats: dict[str, dict[str, Any]] = self._client.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()})


def _voluntary_switches(pid: int) -> int:
    found = 0
    for thread in psutil.Process(pid).threads():
        status = Path(f"/proc/{pid}/task/{thread.id}/status").read_text()
        found += int(status.partition("\nvoluntary_ctxt_switches:")[2].split(maxsplit=1)[0])
    return found


def costs(system: Queuecast, jobs: int) -> Costs:
    """Run jobs one after the other; return what each has cost."""
    asyncio.run(_latencies_s(system, _WARM_UP_JOBS))
    time.sleep(_SETTLE_S)
    with system.redis() as client:
        counters = _Counters(system, client)
        latencies_s = asyncio.run(_latencies_s(system, jobs))
        time.sleep(_SETTLE_S)
        return counters.since(jobs, statistics.median(latencies_s) * 1000)


async def _latencies_s(system: Queuecast, jobs: int) -> list[float]:
    encoded, client = system.wait_request(QUADRATIC), Client(system.port)
    await client.connect()
    found = []
    for _ in range(jobs):
        began = time.monotonic()
        status, answer = await client.ask(encoded)
        found.append(time.monotonic() - began)
        if status != 200:
            raise RuntimeError(f"HTTP {status}: {answer[:300]!r}")
    client.close()
    return found


def table(found: Costs) -> list[str]:
    """Return the lines of a markdown table."""
    lines = ["| process | processor time, ms | switches |", "|---|---|---|"]
    for role, ms in found.cpu_ms.items():
        lines.append(f"| {role.split()[0]} | {ms:.2f} | {found.switches.get(role, 0):.1f} |")
    often = sorted(((count, name) for name, count in found.calls.items() if count >= 0.5), reverse=True)
    return [*lines, "", "Commands of Redis: " + ", ".join(f"{name} {count:.1f}" for count, name in often)]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m bench.studies.one_client",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=500)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder,
        Queuecast(Path(folder), [QUADRATIC]) as system,
    ):
        found = costs(system, options.jobs)
    print(f"p50 {found.p50_ms:.2f} ms\n\n" + "\n".join(table(found)))


if __name__ == "__main__":
    main()
