"""Figures of a deployment over time, as the HTTP API shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from workers import keys
from workers.engine.upkeep import minutes
from workers.platform.redis.client import records_client
from workers.queues.naming import queue_name


def ended(client: Client, worker: StandInWorker, good: int, bad: int) -> None:
    """End jobs with an outcome and with an error."""
    for number in range(good + bad):
        job_id = client.submit()
        if number < good:
            worker.succeed(job_id, "adding", number)
        else:
            worker.fail(job_id, "adding", "no")


def test_an_hour_has_a_bucket_for_each_minute(client: Client, adding: View, worker: StandInWorker) -> None:
    ended(client, worker, 3, 1)
    client.submit()
    minutes.keep(datetime.now(UTC).timestamp())
    found = client.get("/deployments/adding/stats").json
    assert (found["endpoint_name"], found["since_s"], found["step_s"]) == ("adding", 3_600, 60)
    assert len(found["buckets"]) == 60
    first, last = (datetime.fromisoformat(found["buckets"][at]["at"]) for at in (0, -1))
    assert last - first == timedelta(minutes=59)
    assert timedelta() <= datetime.now(UTC) - last < timedelta(minutes=2)
    summary = found["summary"]
    assert [summary[name] for name in ("jobs", "succeeded", "failed", "withdrawn")] == [4, 3, 1, 0]
    assert summary["total_p95_ms"] == pytest.approx(2, rel=0.1)
    assert summary["queue_depth"] == 5  # the stand-in takes no messages
    assert sum(each["jobs"] for each in found["buckets"]) == 4
    assert found["buckets"][0]["total_p50_ms"] is None


def test_a_day_has_a_bucket_for_ten_minutes(client: Client, adding: View, worker: StandInWorker) -> None:
    ended(client, worker, 2, 0)
    found = client.get("/deployments/adding/stats?since=24h").json
    assert (found["since_s"], found["step_s"], len(found["buckets"])) == (86_400, 600, 144)
    assert found["summary"]["jobs"] == 2


def test_the_figures_of_an_undeployed_endpoint_stay(client: Client, adding: View, worker: StandInWorker) -> None:
    ended(client, worker, 1, 0)
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "reject"})
    records_client().delete(queue_name("adding"))
    assert client.get("/deployments/adding").status_code == 404
    assert client.get("/deployments/adding/stats?since=5m").json["summary"]["jobs"] == 1


def test_an_unknown_endpoint_has_no_figures(client: Client) -> None:
    answer = client.get("/deployments/none/stats")
    assert (answer.status_code, answer.json["code"]) == (404, "deployment_not_found")


@pytest.mark.parametrize("since", ["", "1", "h", "0m", "25h", "1441m", "90s", "1d", "-1h", "1.5h", "1h\n", "99999999h"])
def test_a_time_without_figures_is_refused(client: Client, adding: View, since: str) -> None:
    answer = client.get("/deployments/adding/stats", query_string={"since": since})
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "request_invalid", "since")


def test_metrics_have_a_histogram_of_whole_job_time(client: Client, adding: View, worker: StandInWorker) -> None:
    ended(client, worker, 2, 1)
    text = client.get("/metrics").get_data(as_text=True)
    name = "queuecast_endpoint_job_duration_seconds"
    assert f'{name}_bucket{{endpoint="adding",le="0.005"}} 3.0' in text
    assert f'{name}_bucket{{endpoint="adding",le="+Inf"}} 3.0' in text
    assert f'{name}_sum{{endpoint="adding"}} 0.006' in text


def test_counts_of_the_wrong_type_hide_no_metrics_of_others(client: Client, adding: View) -> None:
    client.deploy("spoilt")
    records_client().set(keys.counts("spoilt"), "no hash")
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert 'queuecast_endpoint_job_duration_seconds_count{endpoint="spoilt"} 0.0' in answer.get_data(as_text=True)
