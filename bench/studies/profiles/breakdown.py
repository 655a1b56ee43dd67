"""Show where the time of one job goes, from the client's request to its answer.

    python -m bench.studies.profiles.breakdown --jobs 200

One client sends one job after the other and waits for each (`Prefer: wait`). Redis tells (MONITOR) when the job's
record and message are touched; the job's own record says when it was accepted and how long the model took. All
clocks are this machine's. Prints the median of each step, for a model without work and for a random forest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import redis

from bench.figures.measurement import Measurement
from bench.load_client import Client
from bench.models import FOREST, QUADRATIC
from bench.scale import FULL, Scale
from bench.summary import Sample
from bench.systems.queuecast import Queuecast
from workers import keys

#: In the order of a job's life; each ends at the mark of this name.
STEPS = {
    "accepted": "API: HTTP, route, JSON, check of the input",
    "stored": "API: message made, record and message stored in Redis",
    "fetched": "worker notices, and fetches the job under a lease",
    "claimed": "worker: batch made, record says STARTED",
    "predicted": "host: the model",
    "finished": "worker and host: to the host and back, outcome made and written to Redis",
    "read": "API: the waiter notices, and reads the outcome",
    "answered": "API: answer made and sent",
}
_WARM_UP_JOBS = 20
_MARKS_LIMIT_S = 5.0
Marks = dict[str, float]


class Watcher(threading.Thread):
    """Keeps the time of the commands that Redis runs on each job; a context manager."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._client = redis.Redis.from_url(url, socket_timeout=None)
        self._monitor = self._client.monitor()  # type: ignore[no-untyped-call]
        self.marks: dict[str, Marks] = defaultdict(dict)

    def __enter__(self) -> Self:
        self._monitor.__enter__()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.echo("the end")
        self.join(_MARKS_LIMIT_S)
        self._client.close()

    def run(self) -> None:
        """Read what Redis tells until it is told the end."""
        while True:
            told: dict[str, Any] = self._monitor.next_command()
            name, _, arguments = told["command"].partition(" ")
            if name.upper() == "ECHO":
                return
            self._keep(name.upper(), arguments, told["time"])

    def _keep(self, name: str, arguments: str, at: float) -> None:
        record = keys.record("")
        if name == "SET" and arguments.startswith(record):
            marks = self.marks[arguments[len(record) :].partition(" ")[0]]
            unused = [mark for mark in ("stored", "claimed", "finished") if mark not in marks]
            marks.setdefault(unused[0] if unused else "finished", at)
        elif name in ("ZADD", "HSET") and arguments.startswith((keys.LEASES, keys.LEASED, keys.HOLDERS)):
            for job_id in [each for each in arguments.split(" ")[1:4] if each in self.marks]:
                self.marks[job_id].setdefault("fetched", at)
        elif name in ("GET", "MGET"):
            for key in arguments.split(" "):
                if "finished" in self.marks.get(key[len(record) :], {}):
                    self.marks[key[len(record) :]].setdefault("read", at)


def breakdown(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure the steps, in milliseconds."""
    del pickles
    with Queuecast(folder / "queuecast") as system:
        for model in (QUADRATIC, FOREST):
            for step, ms in steps_ms(system, model, scale.latency_jobs).items():
                yield Measurement(f"step_{step}", model, ms, system.name)


def steps_ms(system: Queuecast, model: str, jobs: int) -> dict[str, float]:
    """Return the median of each step over so many jobs."""
    asyncio.run(_jobs(system, model, _WARM_UP_JOBS))
    with Watcher(system.redis_url) as watcher:
        sent = asyncio.run(_jobs(system, model, jobs))
    found: dict[str, list[float]] = defaultdict(list)
    with system.redis() as client:
        for job_id, (began, ended) in sent.items():
            record = json.loads(client.get(system.answer_key(job_id)) or b"{}")
            marks = {**watcher.marks[job_id], "accepted": record["submitted_at"], "answered": ended}
            for step, seconds in split(began, marks, record["result"]["timing"]["predict_ms"] / 1000):
                found[step].append(seconds * 1000)
    return {step: statistics.median(found[step]) for step in STEPS if step in found}


def split(began: float, marks: Mapping[str, float], predict_s: float) -> Iterator[tuple[str, float]]:
    """Yield each step and its seconds; a mark that is missing lengthens the step after it."""
    last = began
    for step in STEPS:
        if step == "predicted":
            yield step, predict_s
        elif step in marks:
            seconds = marks[step] - last
            yield step, seconds - predict_s if step == "finished" else seconds
            last = marks[step]


async def _jobs(system: Queuecast, model: str, jobs: int) -> dict[str, tuple[float, float]]:
    """Run jobs one after the other; return by id when each was sent and answered, in seconds since the epoch."""
    encoded, client = system.wait_request(model), Client(system.port)
    await client.connect()
    sent: dict[str, tuple[float, float]] = {}
    for _ in range(jobs):
        began = time.time()
        status, answer = await client.ask(encoded)
        ended = time.time()
        if status != 200:
            raise RuntimeError(f"HTTP {status}: {answer[:300]!r}")
        sent[json.loads(answer)["job_id"]] = (began, ended)
    client.close()
    return sent


def table(samples: Sequence[Sample]) -> list[str]:
    """Return the lines of a markdown table; none without samples."""
    found = {(each.metric, each.model): each.value for each in samples if each.metric.startswith("step_")}
    models = list(dict.fromkeys(model for _, model in found))
    if not models:
        return []
    totals = {model: sum(value for (_, of), value in found.items() if of == model) for model in models}
    lines = [
        "| step | " + " | ".join(f"{model}, ms | of all" for model in models) + " |",
        "|---" * (1 + 2 * len(models)) + "|",
    ]
    for step, text in STEPS.items():
        values = [(found.get((f"step_{step}", model)), totals[model]) for model in models]
        cells = [f"{ms:.2f} | {ms / total:.0%}" if ms is not None else " | " for ms, total in values]
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return [*lines, "| all | " + " | ".join(f"{totals[model]:.2f} | 100%" for model in models) + " |"]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m bench.studies.profiles.breakdown",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=FULL.latency_jobs)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Queuecast(Path(folder)) as system:
        samples = [
            Sample(f"step_{step}", model, system.name, 0, ms)
            for model in (QUADRATIC, FOREST)
            for step, ms in steps_ms(system, model, options.jobs).items()
        ]
    print("\n".join(table(samples)))


if __name__ == "__main__":
    main()
