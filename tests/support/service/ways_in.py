"""Jobs that are submitted by each way in, with sticky keys and without, and the versions that answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from api.client import Client
from tests.support.calls import expect
from tests.support.service import trials
from tests.support.service.stack import Stack
from workers.queues import dealing
from workers.queues.naming import queue_name

#: Twenty jobs with ids alone, and one of each caller.
CALLERS = [f"caller {number}" for number in range(10)]
SUBMITS: list[tuple[str, str | None]] = [
    *((f"row {number}", None) for number in range(20)),
    *((caller, caller) for caller in CALLERS),
]


class Answered(NamedTuple):
    """A job with its outcome."""

    job_id: str
    version: str
    prediction: Any


def _named(sticky_key: str | None) -> dict[str, str]:
    return {} if sticky_key is None else {"sticky_key": sticky_key}


def over_http(stack: Stack, endpoint_name: str) -> list[Answered]:
    """Submit each with a request of its own."""
    bodies = [{"input": row, **_named(key)} for row, key in SUBMITS]
    ids = [expect(202, stack.api.post(f"/predict/{endpoint_name}", json=body))["job_id"] for body in bodies]
    return _ended(stack, ids)


def in_bulk(stack: Stack, endpoint_name: str) -> list[Answered]:
    """Submit all with one request."""
    body = [{"input": row, **_named(key)} for row, key in SUBMITS]
    return _ended(stack, expect(202, stack.api.post(f"/predict/{endpoint_name}/bulk", json=body))["job_ids"])


def by_client(stack: Stack, endpoint_name: str) -> list[Answered]:
    """Submit each with the Python client."""
    with Client(stack.url) as client:
        return _ended(stack, [client.submit(endpoint_name, row, sticky_key=key).job_id for row, key in SUBMITS])


def by_bare_celery(stack: Stack, endpoint_name: str) -> list[Answered]:
    """Send jobs with an app that knows nothing of ours."""
    results = [
        stack.celery.send_task(
            "predict",
            args=[endpoint_name, row],
            queue=queue_name(endpoint_name),
            headers={} if key is None else {"queuecast_sticky_key": key},
        )
        for row, key in SUBMITS
    ]
    return [_answered(each.id, each.get(timeout=30)) for each in results]


def by_v2(stack: Stack, endpoint_name: str) -> list[Answered]:
    """Submit each by the Open Inference Protocol."""
    found = []
    for row, key in SUBMITS:
        tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "data": [row]}
        body = {"inputs": [tensor], "parameters": _named(key)}
        answer = expect(200, stack.api.post(f"/v2/models/{endpoint_name}/infer", json=body))
        [output] = answer["outputs"]
        found.append(Answered(answer["parameters"]["job_id"], answer["model_version"], output["data"]))
    return found


def _ended(stack: Stack, job_ids: list[str]) -> list[Answered]:
    return [_answered(job_id, each) for job_id, each in zip(job_ids, stack.outcomes(job_ids), strict=True)]


def _answered(job_id: str, outcome: dict[str, Any]) -> Answered:
    return Answered(job_id, outcome["version"], outcome["prediction"])


WAYS: dict[str, Callable[[Stack, str], list[Answered]]] = {
    "HTTP": over_http,
    "bulk": in_bulk,
    "client": by_client,
    "bare Celery": by_bare_celery,
    "V2": by_v2,
}


def check_dealing(stack: Stack, endpoint_name: str, weight: float, way: str) -> None:
    """Submit jobs; each is answered by the version of its sticky key, or else of its id."""
    found = WAYS[way](stack, endpoint_name)
    for (row, key), (job_id, version, prediction) in zip(SUBMITS, found, strict=True):
        share = dealing.share(trials.SALT, key or job_id)
        assert (version, prediction) == ("2" if share < weight else "1", [version, row])
    assert {each.version for each in found} == {"1", "2"}
