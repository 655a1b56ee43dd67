"""Serve many deployments of real fitted estimators with one worker that has no memory for all of them.

    python bench/studies/density.py --deployments 100 --seconds 60 --budget-mb 192
    python bench/studies/density.py --deployments 1000 --seconds 1800 --budget-mb 1024 --kill-workers-s 120

Clients choose deployments by a Zipf distribution, while model hosts are killed. Each answer is compared with the
estimator's own. The memory of all hosts and forkservers is sampled, and compared with the budget. The latency of the
hottest deployments is measured before the others are there, and among them.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
from sklearn import datasets
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.calls import expect
from tests.support.service.stack import Stack, Worker
from workers.hosts import processes

HOT = 5
MEBIBYTE = 1 << 20
_SAMPLE_S = 2.0
_CALL_S = 60


@dataclass(frozen=True)
class Kind:
    """A fitted estimator, rows of its data set, and what it answers to them."""

    name: str
    artifact: bytes
    rows: list[list[float]]
    answers: list[Any]


def kinds() -> Iterator[Kind]:
    """Fit an estimator of each kind to data sets in turn."""
    estimators: list[BaseEstimator] = [
        LogisticRegression(max_iter=2_000), RidgeClassifier(), SGDClassifier(random_state=0), Perceptron(),
        GaussianNB(), BernoulliNB(), KNeighborsClassifier(), NearestCentroid(), SVC(random_state=0),
        LinearSVC(random_state=0), DecisionTreeClassifier(random_state=0), ExtraTreeClassifier(random_state=0),
        RandomForestClassifier(50, random_state=0), ExtraTreesClassifier(50, random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0), AdaBoostClassifier(random_state=0),
        MLPClassifier(max_iter=300, random_state=0), LinearDiscriminantAnalysis(),
        QuadraticDiscriminantAnalysis(reg_param=0.1),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
    ]  # fmt: skip
    loads = [datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_digits]
    for number, (estimator, load) in enumerate(zip(estimators, itertools.cycle(loads), strict=False)):
        data = load()
        estimator.fit(data.data, data.target)
        target = io.BytesIO()
        joblib.dump(estimator, target)
        some = data.data[:: max(1, len(data.data) // 40)]
        yield Kind(f"kind{number:02}", target.getvalue(), some.tolist(), estimator.predict(some).tolist())


@dataclass
class Figures:
    """What the clients saw."""

    #: Seconds of each job, by deployment.
    took_s: dict[str, list[float]] = field(default_factory=dict)
    wrong: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        """All jobs with an outcome."""
        return sum(map(len, self.took_s.values()))

    def quantile_ms(self, q: float, names: set[str]) -> float:
        """Return the quantile of the time of jobs of these deployments."""
        times = [each for name, some in self.took_s.items() if name in names for each in some]
        return float(np.quantile(times, q)) * 1000 if times else float("nan")


def load(url: str, kind_of: dict[str, Kind], weights: list[float], seconds: float, clients: int) -> Figures:
    """Have clients submit jobs one after the other, each to a deployment of their choice, and wait for the outcome."""
    figures, lock, ends_at = Figures({name: [] for name in kind_of}), threading.Lock(), time.monotonic() + seconds
    names = list(kind_of)

    def client(seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=url, timeout=_CALL_S + 15) as api:
            while time.monotonic() < ends_at:
                [name] = chance.choices(names, weights)
                row = chance.randrange(len(kind_of[name].rows))
                began = time.perf_counter()
                answer = api.post(
                    f"/predict/{name}", json={"input": kind_of[name].rows[row]}, headers={"Prefer": f"wait={_CALL_S}"}
                )
                took_s = time.perf_counter() - began
                with lock:
                    if answer.status_code != 200:
                        figures.failed.append(f"{name}: {answer.status_code} {answer.text[:300]}")
                        continue
                    figures.took_s[name].append(took_s)
                    figures.wrong += answer.json()["prediction"] != kind_of[name].answers[row]

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return figures


def used_mb(worker: Worker) -> float:
    """Return the PSS of all hosts and forkservers of a worker.

    They are stopped meanwhile: otherwise hosts end and others follow while they are read, and shares of pages move to
    processes that are read later.
    """
    stopped: list[int] = []
    try:
        for forkserver in processes.children(worker.pid):
            for pid in (forkserver, *_stopped(forkserver, stopped)):
                _stopped(pid, stopped)
        return sum(processes.own_memory_usage(pid).pss_bytes for pid in set(stopped)) / MEBIBYTE
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _stopped(pid: int, stopped: list[int]) -> list[int]:
    """Stop a process, and return its children."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
    return processes.children(pid)


@contextmanager
def repeated(what: Callable[[], None], interval_s: float) -> Iterator[None]:
    """Do something at an interval, in a thread; never with an interval of 0."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.wait(interval_s):
            what()

    thread = threading.Thread(target=run, daemon=True)
    if interval_s:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        if interval_s:
            thread.join()


class Density:
    """A service with one worker, and deployments of the kinds."""

    def __init__(self, stack: Stack, options: argparse.Namespace) -> None:
        self.stack = stack
        self.options = options
        self.kinds = list(kinds())
        self.kind_of: dict[str, Kind] = {}
        self.samples_mb: list[float] = []
        self.host_kills = self.worker_kills = 0
        self.evictions = 0
        self._chance = random.Random(options.seed)
        self.worker = self._start_worker()
        for kind in self.kinds:
            document = {"name": kind.name, "runtime": "sklearn", "input_example": kind.rows[0]}
            files = {"artifact": kind.artifact}
            expect(201, stack.api.post("/models", files=files, data={"metadata": json.dumps(document)}))

    def deploy(self, count: int) -> float:
        """Deploy more until there are so many; return how long it took (s)."""
        began = time.monotonic()
        for number in range(len(self.kind_of), count):
            kind, name = self.kinds[number % len(self.kinds)], f"d{number:04}"
            settings = {"hosts": {"min": 0, "max": 1}, "idle_s": self.options.idle_s, "events": "off"}
            self.stack.deploy(kind.name, wait_s=_CALL_S, endpoint_name=name, **settings)
            self.kind_of[name] = kind
        return time.monotonic() - began

    def run(self, names: list[str], seconds: float, *, kills: bool) -> Figures:
        """Load these deployments, the first of them most."""
        weights = [1 / (rank + 1) ** self.options.zipf for rank in range(len(names))]
        kind_of = {name: self.kind_of[name] for name in names}
        host_s, worker_s = (self.options.kill_hosts_s, self.options.kill_workers_s) if kills else (0, 0)
        with (
            repeated(self._sample, _SAMPLE_S),
            repeated(self._kill_host, host_s),
            repeated(self._kill_worker, worker_s),
        ):
            return load(self.stack.url, kind_of, weights, seconds, self.options.clients)

    def memory(self) -> dict[str, Any]:
        """What the worker reports of its memory and its cold starts."""
        found = expect(200, self.stack.api.get("/deployments"))["workers"]
        return dict(next(each for each in found if each.get("used_bytes") is not None))

    def _start_worker(self) -> Worker:
        return self.stack.start_worker(env={"QUEUECAST_WORKER_MEMORY_MB": str(self.options.budget_mb)})

    def _sample(self) -> None:
        self.samples_mb.append(used_mb(self.worker))

    def _kill_host(self) -> None:
        hosts = [host for pid in processes.children(self.worker.pid) for host in processes.children(pid)]
        if hosts:
            try:
                os.kill(self._chance.choice(hosts), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.host_kills += 1

    def _kill_worker(self) -> None:
        self.worker.kill()
        self.worker_kills += 1
        self.worker = self._start_worker()


def main() -> None:
    """Measure, and print a table; exit with 1 if a job has no right outcome, or the budget was exceeded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--deployments", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--budget-mb", type=int, default=256)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--zipf", type=float, default=1.1, help="the exponent: the larger, the more have the hot ones")
    parser.add_argument("--idle-s", type=float, default=30.0)
    parser.add_argument("--kill-hosts-s", type=float, default=5.0, help="interval of kills of a model host; 0: none")
    parser.add_argument("--kill-workers-s", type=float, default=0.0, help="interval of kills of the worker; 0: none")
    parser.add_argument("--error-mb", type=float, default=16.0, help="how far a sample may be over the budget")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        density = Density(stack, options)
        density.deploy(HOT)
        hot = list(density.kind_of)
        density.run(hot, 3.0, kills=False)  # warms everything up
        alone = density.run(hot, max(5.0, options.seconds / 4), kills=False)
        deploying_s = density.deploy(options.deployments)
        among = density.run(list(density.kind_of), options.seconds, kills=True)
        memory = density.memory()
    hot_names, most_mb = set(hot), max(density.samples_mb)
    ratio = among.quantile_ms(0.95, hot_names) / alone.quantile_ms(0.95, hot_names)
    for what, value in (
        ("deployments", len(density.kind_of)),
        ("deploys per s", f"{(options.deployments - HOT) / deploying_s:.1f}" if deploying_s else "-"),
        ("jobs", among.jobs),
        ("jobs per s", f"{among.jobs / options.seconds:.0f}"),
        ("failed, wrong", f"{len(among.failed)}, {among.wrong}"),
        ("killed hosts, workers", f"{density.host_kills}, {density.worker_kills}"),
        ("memory: most, budget (MiB)", f"{most_mb:.0f}, {options.budget_mb}"),
        ("evictions, cold starts", f"{memory['evictions']}, {memory['cold_starts']}"),
        ("cold start p50, p95 (ms)", f"{memory['cold_start_p50_ms']}, {memory['cold_start_p95_ms']}"),
        ("all jobs p50, p95 (ms)", _quantiles(among, set(density.kind_of))),
        (f"{HOT} hottest alone p50, p95 (ms)", _quantiles(alone, hot_names)),
        (f"{HOT} hottest among all p50, p95 (ms)", _quantiles(among, hot_names)),
        ("hottest: p95 among all to alone", f"{ratio:.2f}"),
    ):
        print(f"{what:<40} {value}")
    for each in [*alone.failed, *among.failed][:5]:
        print(each)
    if among.failed or among.wrong or most_mb > options.budget_mb + options.error_mb:
        sys.exit("A job has no right outcome, or the budget was exceeded.")


def _quantiles(figures: Figures, names: set[str]) -> str:
    return f"{figures.quantile_ms(0.5, names):.1f}, {figures.quantile_ms(0.95, names):.1f}"


if __name__ == "__main__":
    main()
