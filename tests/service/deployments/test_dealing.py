"""Jobs that come by any way meet both versions of a trial, and a sticky key keeps its version as the weight grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.client import Client
from tests.support.calls import expect
from tests.support.models import Echo, Gate
from tests.support.service import trials
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.engine.serving.trials import copies
from workers.measures import arms
from workers.queues import dealing
from workers.queues.naming import queue_name

ENDPOINT = "dealt"
KEYS = [f"caller {number}" for number in range(10)]
#: Twenty jobs with ids alone, and one of each caller.
SUBMITS: list[tuple[str, str | None]] = [(f"row {number}", None) for number in range(20)] + [(key, key) for key in KEYS]
#: Jobs beyond those that a backlog takes.
TOO_MANY = 200


class Answered(NamedTuple):
    """A job with its outcome."""

    job_id: str
    version: str
    prediction: Any


def named(sticky_key: str | None) -> dict[str, str]:
    return {} if sticky_key is None else {"sticky_key": sticky_key}


def over_http(service: Stack) -> list[Answered]:
    bodies = [{"input": row, **named(key)} for row, key in SUBMITS]
    ids = [expect(202, service.api.post(f"/predict/{ENDPOINT}", json=body))["job_id"] for body in bodies]
    return ended(service, ids)


def in_bulk(service: Stack) -> list[Answered]:
    body = [{"input": row, **named(key)} for row, key in SUBMITS]
    return ended(service, expect(202, service.api.post(f"/predict/{ENDPOINT}/bulk", json=body))["job_ids"])


def by_client(service: Stack) -> list[Answered]:
    with Client(service.url) as client:
        return ended(service, [client.submit(ENDPOINT, row, sticky_key=key).job_id for row, key in SUBMITS])


def by_bare_celery(service: Stack) -> list[Answered]:
    """Send jobs with an app that knows nothing of ours."""
    results = [
        service.celery.send_task(
            "predict",
            args=[ENDPOINT, row],
            queue=queue_name(ENDPOINT),
            headers={} if key is None else {"queuecast_sticky_key": key},
        )
        for row, key in SUBMITS
    ]
    return [answered(each.id, each.get(timeout=30)) for each in results]


def by_v2(service: Stack) -> list[Answered]:
    found = []
    for row, key in SUBMITS:
        tensor = {"name": "input", "shape": [1], "datatype": "BYTES", "data": [row]}
        body = {"inputs": [tensor], "parameters": named(key)}
        answer = expect(200, service.api.post(f"/v2/models/{ENDPOINT}/infer", json=body))
        [output] = answer["outputs"]
        found.append(Answered(answer["parameters"]["job_id"], answer["model_version"], output["data"]))
    return found


def ended(service: Stack, job_ids: list[str]) -> list[Answered]:
    return [answered(job_id, each) for job_id, each in zip(job_ids, service.outcomes(job_ids), strict=True)]


def answered(job_id: str, outcome: dict[str, Any]) -> Answered:
    return Answered(job_id, outcome["version"], outcome["prediction"])


@pytest.fixture(scope="module")
def trial(service: Stack) -> Iterator[str]:
    """An endpoint with two versions; returns the id of the trial."""
    service.register(ENDPOINT, Echo("1"))
    service.register(ENDPOINT, Echo("2"))
    service.deploy(ENDPOINT, version="1", endpoint_name=ENDPOINT)
    yield trials.place(service, ENDPOINT, weight=0.0, shadow_share=0.0)
    service.undeploy(ENDPOINT, "reject", wait_s=0)


@pytest.fixture(scope="module", params=[0.3, 0.7])
def weight(service: Stack, trial: str, request: pytest.FixtureRequest) -> float:
    """The weight of the candidate, which grows."""
    trials.set_weight(service, ENDPOINT, request.param)
    return float(request.param)


@pytest.mark.parametrize("submitted", [over_http, in_bulk, by_client, by_bare_celery, by_v2])
def test_each_job_is_answered_by_the_version_of_its_sticky_key_or_else_of_its_id(
    service: Stack, weight: float, submitted: Callable[[Stack], list[Answered]]
) -> None:
    found = submitted(service)
    for (row, key), (job_id, version, prediction) in zip(SUBMITS, found, strict=True):
        share = dealing.share(trials.SALT, key or job_id)
        assert (version, prediction) == ("2" if share < weight else "1", [version, row])
    assert {each.version for each in found} == {"1", "2"}


def test_a_shadow_that_can_not_keep_up_sheds_copies_and_no_caller_waits_for_it(
    service: Stack, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Echo("1"))
    service.register(name, Gate("2"))
    service.deploy(name, version="1", endpoint_name=name)
    trial_id = trials.place(service, name, weight=0.0, shadow_share=1.0)
    rows = [str(gate), *(f"row {number}" for number in range(copies.MOST_COPIES + TOO_MANY))]
    ids = expect(202, service.api.post(f"/predict/{name}/bulk", json=[{"input": row} for row in rows]))["job_ids"]
    assert [each["prediction"] for each in service.outcomes(ids)] == [["1", row] for row in rows]

    def counted(*names: str) -> int:
        found = trials.figures(service, trial_id).shadow
        return sum(found[each] for each in names)

    eventually(lambda: counted(arms.COPIES_SHED) > 0, 20)
    assert counted(arms.COPIES_SHED) <= len(rows) - copies.MOST_COPIES
    gate.touch()
    eventually(lambda: counted(arms.COPIES_SHED, arms.COPIES_PREDICTED) == len(rows), 30)
