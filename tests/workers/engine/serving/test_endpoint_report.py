"""A worker's report on an endpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis

from tests.workers.stand_ins import context, deployment, pace_report
from workers.engine.serving.endpoint import Endpoint
from workers.measures.reports import PaceReport


@pytest.mark.parametrize(
    ("pace", "jobs_per_s"),
    [(None, 0.0), (pace_report(0), 0.0), (pace_report(2, batch_jobs=10.0, job_ms=100.0), 10.0)],
)
def test_a_report_has_the_pace_also_as_an_earlier_release_reads_it(pace: PaceReport | None, jobs_per_s: float) -> None:
    endpoint = Endpoint(context(AsyncRedis()), deployment("adding"))
    group: Any = SimpleNamespace(pace=lambda: pace, report=dict, running_jobs=[], busy_hosts=0)
    endpoint._hosts.current = group
    said = endpoint.report()
    assert said["pace"] == pace
    assert said["jobs_per_s"] == pytest.approx(jobs_per_s)
