"""Feedback, quality and drift of a whole service: from jobs to metrics and commands, by a background process."""

from __future__ import annotations

import json

import pytest
import redis

from api.client import Client
from tests.support.calls import expect
from tests.support.metrics import Scrape
from tests.support.models import Same
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys

VECTOR = {"kind": "vector", "dtype": "float", "shape": [None]}
JOBS = 1_250


@pytest.mark.long
def test_feedback_and_drift_come_from_jobs_to_metrics_and_commands(service: Stack, name: str) -> None:
    service.register(name, Same(), [0.5], signature=VECTOR)
    service.deploy(name, endpoint_name=name, journal=1)
    lines = "".join(json.dumps({"input": [number % 100 / 100]}) + "\n" for number in range(JOBS))
    headers = {"Content-Type": "application/x-ndjson"}
    job_ids = expect(202, service.api.post(f"/predict/{name}/bulk", content=lines, headers=headers))["job_ids"]
    service.outcomes(job_ids)
    with Client(service.url) as client:
        assert client.give_much_feedback([(job_ids[0], [0.0]), (job_ids[1], [0.21]), ("nothing", 1)]) == ["nothing"]
    with redis.Redis.from_url(service.redis.url) as store:
        # Another background process may have made a round lately.
        store.delete(keys.monitoring_round("quality"), keys.monitoring_round("drift"))

    child = service.start_background({"QUEUECAST_JOURNAL_INTERVAL_S": "0.2"})
    try:

        def scraped() -> Scrape:
            found = Scrape(service.api.get("/metrics").text)
            assert found.by("measure", "queuecast_quality", endpoint=name, version="1").keys() == {"mae", "rmse"}
            assert "input.0" in found.by("field", "queuecast_drift", endpoint=name)
            return found

        found = eventually(scraped, 40.0, message="both are computed")
    finally:
        child.stop()
    # Errors 0 and 0.2; and the same inputs come again and again.
    assert abs(found.value("queuecast_quality", endpoint=name, version="1", measure="mae") - 0.1) < 1e-9
    assert found.value("queuecast_drift", endpoint=name, field="input.0") < 0.1
    shown = service.queuecast("quality", name, "--since", "1h").stdout.split()
    assert shown[6:12] == ["all", "1", "2", "-", "0.1", "0.1414"]
    assert "input.0" in service.queuecast("drift", name).stdout
