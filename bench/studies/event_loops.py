"""Compare uvloop with asyncio's own event loop: what a submit, a job that is polled and one that is waited for cost.

    python -m bench.studies.event_loops --rounds 5

In each round both run in turn, as services of their own, with the other one first every second time. Figures are
medians of the rounds, and the ratio is that of each round. Processor time holds also beside other work, rates and
latencies less so.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from bench.load_client import Doing, closed_loop
from bench.models import QUADRATIC
from bench.resources import pss_mib
from bench.studies.one_client import costs
from bench.systems.queuecast import Queuecast

_LOOPS = ("asyncio", "uvloop")
_CLIENTS = 16
_WARM_UP_S = 1.0
_SECONDS = 4.0
_JOBS = 300


def figures(loop: str) -> dict[str, float]:
    """Start a service on a kind of event loop, and measure it."""
    with (
        tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder,
        Queuecast(Path(folder), [QUADRATIC], {"QUEUECAST_EVENT_LOOP": loop}) as system,
    ):
        one = costs(system, _JOBS)
        found = {"one client that waits: p50, ms": one.p50_ms}
        found |= {f"one client that waits: {role}, ms a job": one.cpu_ms[role] for role in ("api", "worker")}
        found |= _under_load(system, "polled", system.polled(QUADRATIC), 200)
        found |= {f"memory of the {role}, MiB": _memory_mib(system, role) for role in ("api", "worker")}
        with system.paused():
            found |= _under_load(system, "submitted", system.submit_request(QUADRATIC), 202)
        return found


def _under_load(system: Queuecast, what: str, doing: Doing, status: int) -> dict[str, float]:
    def load(seconds: float) -> int:
        each = closed_loop(system.port, doing, clients=_CLIENTS, seconds=seconds, status=status)
        return len(asyncio.run(each).check().latencies_s)

    load(_WARM_UP_S)
    meter = system.meter()
    jobs = load(_SECONDS)
    roles = ("api",) if what == "submitted" else ("api", "worker")
    used_ms = meter.used_ms()
    return {f"{what}: jobs/s": jobs / _SECONDS} | {f"{what}: {role}, ms a job": used_ms[role] / jobs for role in roles}


def _memory_mib(system: Queuecast, role: str) -> float:
    return pss_mib(system.processes()[role][0], children=False)


def table(rounds: list[dict[str, dict[str, float]]]) -> list[str]:
    """Return the lines of a markdown table."""
    lines = ["| figure | asyncio | uvloop | ratio |", "|---|---|---|---|"]
    for name in rounds[0][_LOOPS[0]]:
        pairs = [(each["asyncio"][name], each["uvloop"][name]) for each in rounds]
        ratios = sorted(after / before for before, after in pairs)
        before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        lines.append(f"| {name} | {before:.3g} | {after:.3g} | {spread} |")
    return lines


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m bench.studies.event_loops",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = []
    for number in range(parser.parse_args().rounds):
        loops = _LOOPS if number % 2 == 0 else reversed(_LOOPS)
        rounds.append({loop: figures(loop) for loop in loops})
    print("\n".join(table(rounds)))


if __name__ == "__main__":
    main()
