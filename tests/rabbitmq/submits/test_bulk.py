"""Many jobs in one call, with RabbitMQ as broker."""

from __future__ import annotations

import pytest

from tests.rabbitmq import audit
from tests.support.calls import expect, predictions
from tests.support.models import Echo
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

COUNT = 300


@pytest.fixture
def echo(service: Stack, name: str) -> str:
    """The name of an endpoint that answers with its mark and the row."""
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    return name


def test_many_jobs_are_sent_once_and_answered(service: Stack, rabbit: RabbitNode, echo: str) -> None:
    body = [{"input": f"row {number}"} for number in range(COUNT)]
    headers = {"Idempotency-Key": echo}
    job_ids = expect(202, service.api.post(f"/predict/{echo}/bulk", json=body, headers=headers))["job_ids"]
    assert predictions(service.outcomes(job_ids)) == [["m", each["input"]] for each in body]
    repeated = expect(202, service.api.post(f"/predict/{echo}/bulk", json=body, headers=headers))
    assert repeated["job_ids"] == job_ids
    eventually(lambda: audit.leftovers(service, rabbit, echo, job_ids) == {}, message="nothing is left")


def test_celery_programs_send_many(service: Stack, echo: str) -> None:
    program = f"""
from workers.tasks import predict
results = predict.bulk({echo!r}, map(str, range({COUNT})))
print([each.get(timeout=30)["prediction"][1] for each in results] == [str(each) for each in range({COUNT})])
"""
    assert service.run("-c", program).stdout == "True\n"


def test_a_queue_is_bounded_in_bytes(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group="nobody", wait_s=0, max_queue_bytes=300_000)
    jobs = [service.submit(name, "x" * 90_000) for _ in range(2)]
    for path, body in ((name, {"input": "x" * 90_000}), (f"{name}/bulk", [{"input": "x" * 45_000}] * 2)):
        refused = service.api.post(f"/predict/{path}", json=body)
        assert (refused.status_code, refused.json()["full"]) == (429, "max_queue_bytes")
    assert 240_000 < service.view(name)["queue_bytes"] < 300_000
    assert service.api.delete(f"/jobs/{jobs[0]}").status_code == 200
    service.submit(name, "x" * 90_000)
    service.undeploy(name, "reject", wait_s=0)
