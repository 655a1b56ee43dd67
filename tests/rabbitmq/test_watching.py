"""What `celery inspect` and `revoke` say and do when they speak with a worker over RabbitMQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.models import Gate
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name


def test_remote_control_sees_and_steers_jobs(service: Stack, name: str, tmp_path: Path) -> None:
    gate, node_name = tmp_path / "gate", service.workers[0].node_name
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    waiting = service.submit(name, "revoked")
    control = service.celery.control
    asked = control.inspect(destination=[node_name], timeout=10, limit=1)

    def ids(answer: dict[str, list[dict[str, Any]]]) -> list[str]:
        return [job["id"] for job in answer[node_name] if job["delivery_info"]["routing_key"] == queue_name(name)]

    eventually(lambda: ids(asked.reserved()) == [waiting], message="it waits")
    assert ids(asked.active()) == [running]
    assert queue_name(name) in [queue["name"] for queue in asked.active_queues()[node_name]]
    control.revoke(waiting, destination=[node_name], reply=True, timeout=10, limit=1)
    assert service.job(waiting)["status"] == "cancelled"
    gate.touch()
    service.outcomes([running])
