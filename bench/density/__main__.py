"""Serve many deployments of fitted estimators with workers that have no memory for all of them.

    make bench-density                                                        # 60 deployments, 256 MiB
    make bench-density DENSITY="--deployments 1000 --minutes 30 --budget-mb 1024 --kill-workers-s 90"
    make bench-density DENSITY="--deployments 1000 --minutes 30 --workers 2 --budget-mb 512 --kill-workers-s 90"

Jobs come at a steady rate, by a Zipf distribution, whether those before have ended or not. Each answer is compared with
the estimator's own. The hottest deployments alone, all deployments, and all of them while hosts and workers are killed
with SIGKILL take turns; in the first two rounds of a turn the hottest deployments get the same jobs at the same times.
The memory of all hosts and forkservers is sampled, and compared with the budget.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.density import report
from bench.density.load import Arrival, arrivals, offer, wake
from bench.density.report import Results
from bench.density.service import Density
from tests.support.service.stack import Stack

#: One turn of the rounds takes about this long (s), and how it is divided.
_TURN_S = 150.0
_ALONE, _AMONG, _KILLED = 0.3, 0.3, 0.4
#: What a round lets pass before it is measured: hosts that were killed are loaded again, memory is moved (s).
_SETTLE_S = 5.0


def main() -> None:
    """Measure, print a table, and exit with 1 if a job has no right outcome, or the budget was exceeded."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        density = Density(stack, options)
        deploying_s = density.deploy(options.deployments)
        names = list(density.kind_of)
        results = Results(frozenset(names[: options.hot]), deploys_per_s=options.deployments / deploying_s)
        print(f"deployed {len(names)} in {deploying_s:.0f} s", flush=True)
        density.watched.began_at = time.monotonic()
        with density.watching():
            turns = max(1, round(options.minutes * 60 / _TURN_S))
            for turn in range(turns):
                _turn(density, results, options, options.minutes * 60 / turns, options.seed + turn)
        results.cold_ms, results.evictions = density.cold_starts_ms(), density.evictions()
        results.pages_ms = density.pages_ms()
        if options.logs is not None:
            shutil.copytree(stack.logs, options.logs, dirs_exist_ok=True)
    for what, value in report.table(results, density.watched, options):
        print(f"{what:<44} {value}")
    if options.plot is not None:
        report.draw(density.watched, options.budget_mb, options.plot)
    if found := report.problems(results, density.watched, options):
        sys.exit("\n".join(found))


def _turn(density: Density, results: Results, options: argparse.Namespace, seconds: float, seed: int) -> None:
    """Have one round of each kind."""
    url, kind_of = density.stack.url, density.kind_of

    def due(share: float, seed: int) -> list[Arrival]:
        return list(arrivals(kind_of, options.zipf, options.rate, seconds * share, seed))

    def hot_only(jobs: list[Arrival]) -> list[Arrival]:
        return [each for each in jobs if each.name in results.hot]

    all_of_them = due(_AMONG, seed)
    wake(url, kind_of, results.hot)
    time.sleep(_SETTLE_S)
    # The order changes, or one of the two would always follow the kills.
    for has_others in (True, False) if seed % 2 else (False, True):
        found = offer(url, kind_of, all_of_them if has_others else hot_only(all_of_them))
        (results.among if has_others else results.alone).append(found)
    before = Counter(density.cold_starts_ms())
    with density.killing():
        results.killed.append(offer(url, kind_of, due(_KILLED, seed + 1_000_000)))
    results.cold_killed_ms += (Counter(density.cold_starts_ms()) - before).elements()
    alone, among = results.hot_p95_ms(results.alone[-1:]), results.hot_p95_ms(results.among[-1:])
    what = f"{len(results.jobs)} jobs, hottest p95 {alone:.1f} ms alone, {among:.1f} among all"
    print(f"{what}; load {os.getloadavg()[0]:.1f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--deployments", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--budget-mb", type=int, default=256, help="of each worker")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=12.0, help="jobs per s, of all deployments together")
    parser.add_argument("--zipf", type=float, default=1.1, help="the exponent: the larger, the more have the hot ones")
    parser.add_argument("--hot", type=int, default=5, help="so many are the hottest")
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--kill-hosts-s", type=float, default=5.0, help="interval of kills of a model host; 0: none")
    parser.add_argument(
        "--kill-workers-s", type=float, default=0.0,
        help="interval of kills of a worker, of the time that rounds with kills take together; 0: none",
    )  # fmt: skip
    parser.add_argument("--error-mb", type=float, default=16.0, help="how far a sample may be over the budget")
    parser.add_argument("--plot", type=Path, help="draw the memory against the budget into this file")
    parser.add_argument("--logs", type=Path, help="copy the logs of all processes into this folder")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
