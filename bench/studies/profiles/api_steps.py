"""Show what the API's processor time of one request consists of, by sampling its event loop.

    pip install py-spy && python -m bench.studies.profiles.api_steps --clients 64 --requests 12000
    python -m bench.studies.profiles.api_steps --wait

Each sample of the loop's thread belongs to the step of its innermost function that belongs to one. The shares are
multiplied by the processor time of that thread for each request, so that other load matters little to the sum.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.load_client import closed_loop
from bench.models import QUADRATIC
from bench.systems.queuecast import Queuecast

_WARM_UP_REQUESTS = 500
_RATE_PER_S = 250
_OTHER = "event loop: tasks, wake-ups"
#: What a frame of a step has in it; the first step that fits counts.
STEPS = {
    "HTTP: from and to Granian, environment, body": ("api/http/server/",),
    "metrics, log context, tracing": ("http/telemetry.py", "platform/logs.py", "tracing/spans.py"),
    "route, identity, request id, headers": ("api/edge/handler.py", "api/auth/", "http/exchange.py", "prefix.py"),
    "body parsed, deployment found, input checked": (
        "strict_json.py", "http/reading.py", "predictions/schemas.py", "registry/", "registry_cache.py", "edge/call.py",
        "check_input (", "checked (", "predict_endpoint (", "_submitted (",
    ),
    "job, record and message made": ("prepare (", "prepared_messages.py", "records.py", "arguments_of ("),
    "group commit: script's arguments, Redis": (
        "on_loop/commits.py", "on_loop/gathering.py", "on_loop/scripts.py", "script_arguments (", "request_of (",
    ),
    "waits: subscription, record read and parsed": ("on_loop/waits.py", "on_loop/reads.py", "shown ("),
    "answer made, with the queue position": (
        "predictions/responses.py", "http/responses.py", "accepted_view (", "deployments/status.py", "paces.py",
    ),
    "submit: limits, places, calls between the steps": ("predictions/service.py", "process/", "on_loop/", "routes.py"),
}  # fmt: skip


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m bench.studies.profiles.api_steps",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--wait", action="store_true", help="clients that wait for the outcome, with a worker")
    options = parser.parse_args()
    if shutil.which("py-spy") is None:
        parser.error("py-spy is not installed: pip install py-spy")
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Queuecast(Path(folder)) as system:
        samples = Path(folder) / "samples"
        loop_us, others_us = _measure(system, samples, options)
        found = _by_step(samples)
    total = sum(found.values())
    print("| step | µs | share |\n|---|---|---|")
    for step in (*STEPS, _OTHER):
        print(f"| {step} | {found[step] / total * loop_us:.0f} | {found[step] / total:.0%} |")
    print(f"| the loop's thread | {loop_us:.0f} | 100% |\n| Granian's and other threads | {others_us:.0f} | |")


def _measure(system: Queuecast, samples: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return the processor time of a request in the loop's thread and in all others, in µs."""
    encoded = system.wait_request(QUADRATIC) if options.wait else system.submit_request(QUADRATIC)
    pid, status = system.processes()["api"][0], 200 if options.wait else 202

    def ask(requests: int) -> None:
        load = closed_loop(system.port, encoded, clients=options.clients, seconds=600, status=status, requests=requests)
        asyncio.run(load).check()

    with _stopped([] if options.wait else system.consumer_pids()):
        ask(_WARM_UP_REQUESTS)
        command = ["py-spy", "record", "--pid", str(pid), "--format", "raw", "--output", str(samples)]
        command += ["--rate", str(_RATE_PER_S), "--duration", "600"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sampling:
            before = _threads_s(pid)
            ask(options.requests)
            used = {thread: now - before.get(thread, 0.0) for thread, now in _threads_s(pid).items()}
            sampling.send_signal(signal.SIGINT)
    loop_s = used.pop(pid)
    return loop_s / options.requests * 1e6, sum(used.values()) / options.requests * 1e6


@contextmanager
def _stopped(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _threads_s(pid: int) -> dict[int, float]:
    return {each.id: each.user_time + each.system_time for each in psutil.Process(pid).threads()}


def _by_step(samples: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in samples.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        # Asleep in `select`, it has nothing to do.
        if any("run_forever" in each for each in frames) and "select (selectors.py" not in frames[-1]:
            found[_step(frames)] += int(count)
    return found


def _step(frames: list[str]) -> str:
    for frame in reversed(frames):
        for step, marks in STEPS.items():
            if any(mark in frame for mark in marks):
                return step
    return _OTHER


if __name__ == "__main__":
    main()
