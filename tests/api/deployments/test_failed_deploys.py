"""An endpoint whose first deploy failed takes no jobs that nothing would run; one that has served takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from workers.measures.reports import HostsState

REASON = "The model can't be loaded: RuntimeError: the weights are missing."
TENSOR: dict[str, Any] = {"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}
Submit = Callable[[Client], Answer]
submits = pytest.mark.parametrize(
    "submit",
    [
        lambda client: client.post("/predict/adding", json={"input": [1, 2]}),
        lambda client: client.post("/predict", json={"model_name": "adder", "input": [1, 2]}),
        lambda client: client.post("/predict/adding/bulk", json=[{"input": [1, 2]}]),
        lambda client: client.post("/v2/models/adding/infer", json={"inputs": [TENSOR], "parameters": {"timeout": 1}}),
    ],
    ids=["endpoint", "universal", "bulk", "v2"],
)


def is_refused(answer: Answer) -> bool:
    assert answer.status_code in (202, 409, 504), answer.text
    return bool(answer.status_code == 409)


@submits
def test_after_a_first_deploy_that_failed_no_job_is_accepted(
    client: Client, adding: View, worker: StandInWorker, submit: Submit
) -> None:
    assert not is_refused(submit(client))  # it is deploying
    worker.report(adding, HostsState.FAILED, error=REASON)
    answer = submit(client)
    assert is_refused(answer)
    problem = answer.json if "code" in answer.json else answer.json["error"]
    assert REASON in str(problem)
    if isinstance(problem, dict):
        assert (problem["code"], problem["endpoint_name"], problem["reason"]) == ("endpoint_failed", "adding", REASON)


@submits
def test_once_it_could_be_loaded_jobs_are_accepted_whatever_happens_later(
    client: Client, adding: View, worker: StandInWorker, submit: Submit
) -> None:
    worker.report(adding, HostsState.FAILED, error=REASON)
    assert is_refused(submit(client))
    worker.report(adding)
    assert not is_refused(submit(client))
    worker.report(adding, HostsState.FAILED, error=REASON)  # e.g. it was started again while the store was away
    assert not is_refused(submit(client))


def test_another_deploy_is_waited_for(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding, HostsState.FAILED, error=REASON)
    client.register()
    again = client.deploy()
    client.submit()
    worker.report(again, HostsState.FAILED, error=REASON)
    assert client.post("/predict/adding", json={"input": [1, 2]}).json["code"] == "endpoint_failed"


def test_a_deploy_after_an_undeploy_is_a_first_one(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding)
    client.post("/deployments/undeploy", json={"endpoint_name": "adding"})
    worker.drop("adding")
    worker.report(client.deploy(), HostsState.FAILED, error=REASON)
    assert client.post("/predict/adding", json={"input": [1, 2]}).json["code"] == "endpoint_failed"


def test_a_parked_endpoint_has_served(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding)
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "park"})
    worker.drop("adding")
    worker.report(client.deploy(), HostsState.FAILED, error=REASON)
    client.submit()


def test_a_job_that_was_accepted_is_found_by_its_idempotency_key(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    def submit(key: str) -> Answer:
        return client.post("/predict/adding", json={"input": [1, 2]}, headers={"Idempotency-Key": key})

    accepted = submit("first").json["job_id"]
    worker.report(adding, HostsState.FAILED, error=REASON)
    assert submit("first").json["job_id"] == accepted
    assert submit("second").json["code"] == "endpoint_failed"
