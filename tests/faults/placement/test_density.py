"""More models than two workers have memory for, under load: one worker is killed, and hosts are, and all goes on."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

import pytest

from bench.density import report
from bench.density.load import arrivals, offer
from bench.density.report import Results
from bench.density.service import Density
from tests.faults.conftest import LEASE_S
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.measures.reports import REPORT_LIFE_S

OPTIONS = argparse.Namespace(
    deployments=30, workers=2, budget_mb=256, idle_s=600.0, kill_hosts_s=2.0, kill_workers_s=0.0, error_mb=16.0, seed=0
)
RATE, SECONDS = 8.0, 10.0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_with_two_workers_no_model_is_in_both_and_a_killed_one_costs_no_job(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", env={"QUEUECAST_LEASE_S": str(LEASE_S)}) as stack:
        density = Density(stack, OPTIONS)
        density.deploy(OPTIONS.deployments)
        results = Results(frozenset())
        eventually(lambda: density.loaded()[0] > 0, 20, message="models are loaded")

        def load(seed: int) -> None:
            due = list(arrivals(density.kind_of, 0.5, RATE, SECONDS, seed))
            results.killed.append(offer(stack.url, density.kind_of, due))

        with density.watching():
            load(1)
            eventually(lambda: density.loaded()[1] == 0, 20, message="no model is in both workers")
            with density.killing():
                loading = threading.Thread(target=load, args=(2,))
                loading.start()
                density.kill_worker(restarts=False)
                loading.join()
            eventually(lambda: len(density.live_workers()) == 1, REPORT_LIFE_S + 10, message="it counts as gone")
            load(3)  # the other one serves all of them
            density.restart_workers()
            eventually(lambda: len(density.live_workers()) == OPTIONS.workers, 30, message="it is back")
            load(4)
            eventually(lambda: density.loaded()[1] == 0, 30, message="no model is in both workers again")
        assert len(results.jobs) > 3 * RATE * SECONDS
        assert report.problems(results, density.watched, OPTIONS) == []
        assert density.watched.host_kills
