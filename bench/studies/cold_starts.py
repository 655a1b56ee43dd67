"""Compare the latency of hot deployments alone, beside cold starts of others, and beside a process that loads nothing.

    python -m bench.studies.cold_starts --minutes 5

Windows of ten seconds take turns, with the same jobs for the hottest five deployments. In one kind of window another
deployment, whose model is not loaded, gets a job three times a second. In another kind a process with the lowest
priority takes the processor as often, each time as long as a cold start takes: what it costs the hot jobs is the
kernel's doing, and no service could avoid it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

from bench.density.load import Arrival, offer, wake
from bench.density.service import Density
from tests.support.service.stack import Stack
from workers.hosts import processes

_DEPLOYMENTS, _HOT = 60, 5
#: Room for about half of them, so that the one that has waited the longest for a job is never loaded.
_BUDGET_MB = 450
_WINDOW_S = 10.0
_HOT_PER_S, _COLD_PER_S = 8.0, 3.0
_LOWEST = 19
_ALONE, _BESIDE_LOADS, _BESIDE_A_PROCESS = "alone", "beside cold starts", "beside a process of the lowest priority"
_WINDOWS = (_ALONE, _BESIDE_LOADS, _BESIDE_A_PROCESS)
#: Takes the processor for so many seconds, so many times a second.
_PROCESS = """
import sys, time
taken_s, interval_s = float(sys.argv[1]), 1 / float(sys.argv[2])
while True:
    began = time.monotonic()
    ends = time.process_time() + taken_s
    while time.process_time() < ends:
        pass
    time.sleep(max(0.0, began + interval_s - time.monotonic()))
"""


class Study:
    """The service, and the latencies (ms) of hot jobs by kind of window."""

    def __init__(self, stack: Stack) -> None:
        options = argparse.Namespace(
            seed=0, workers=1, budget_mb=_BUDGET_MB, idle_s=60.0, kill_hosts_s=0.0, kill_workers_s=0.0
        )
        self.density = Density(stack, options)
        self.density.deploy(_DEPLOYMENTS)
        self._url, names = stack.url, list(self.density.kind_of)
        self._hot, self._cold = names[:_HOT], names[_HOT:]
        self._next_cold = count()
        self.latencies_ms: dict[str, list[float]] = {kind: [] for kind in _WINDOWS}
        wake(self._url, self.density.kind_of, self._hot)

    def have(self, kind: str, seed: int) -> None:
        """Have a window of a kind."""
        due = list(_arrivals(self._hot, seed))
        if kind == _BESIDE_LOADS:
            due += [
                Arrival(number / _COLD_PER_S, self._cold[next(self._next_cold) % len(self._cold)], 0)
                for number in range(int(_WINDOW_S * _COLD_PER_S))
            ]
        with self._beside(kind):
            jobs = offer(self._url, self.density.kind_of, sorted(due, key=lambda each: each.at_s))
        if failed := [each.failed for each in jobs if each.failed or each.is_wrong]:
            sys.exit(f"jobs without their right outcome: {failed}")
        self.latencies_ms[kind] += [each.took_s * 1000 for each in jobs if each.name in self._hot]

    @contextmanager
    def _beside(self, kind: str) -> Iterator[None]:
        starts_ms = self.density.cold_starts_ms()
        if kind != _BESIDE_A_PROCESS or not starts_ms:
            yield
            return
        arguments = [str(statistics.median(starts_ms) / 1000), str(_COLD_PER_S)]
        command = [sys.executable, "-c", _PROCESS, *arguments]
        with subprocess.Popen(command, start_new_session=True) as process:
            processes.set_niceness(process.pid, _LOWEST)
            try:
                yield
            finally:
                process.kill()


def _arrivals(names: list[str], seed: int) -> Iterator[Arrival]:
    draw = Random(seed)
    at_s = draw.expovariate(_HOT_PER_S)
    while at_s < _WINDOW_S:
        yield Arrival(at_s, draw.choice(names), 0)
        at_s += draw.expovariate(_HOT_PER_S)


def table(latencies_ms: dict[str, list[float]]) -> Iterator[str]:
    """Yield the lines of a markdown table."""
    yield "| the hottest five | jobs | p50, ms | p95, ms | p95, to alone |"
    yield "|---|---|---|---|---|"
    alone = statistics.quantiles(latencies_ms[_ALONE], n=20)[-1]
    for kind, found in latencies_ms.items():
        p95 = statistics.quantiles(found, n=20)[-1]
        yield f"| {kind} | {len(found)} | {statistics.median(found):.1f} | {p95:.1f} | {p95 / alone:.2f} × |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m bench.studies.cold_starts",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    ends_at = time.monotonic() + parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        study = Study(stack)
        study.have(_BESIDE_LOADS, seed=0)
        for latencies_ms in study.latencies_ms.values():
            latencies_ms.clear()
        for seed in count():
            # The order changes: what follows loads may be the slower for it.
            for kind in _WINDOWS if seed % 2 else reversed(_WINDOWS):
                study.have(kind, seed)
            if time.monotonic() > ends_at:
                break
        starts_ms = study.density.cold_starts_ms()
    print("\n".join(table(study.latencies_ms)))
    print(f"{len(starts_ms)} cold starts, p50 {statistics.median(starts_ms):.0f} ms; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
