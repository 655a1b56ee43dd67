"""The main path once more, with the registry on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import examples
from tests.support.calls import expect, predictions
from tests.support.loads.load import Load
from tests.support.models import Echo
from tests.support.service.stack import Stack


@pytest.mark.postgres
def test_register_deploy_predict_swap_and_undeploy_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with Stack(tmp_path / "stack", database_url=postgres_url) as stack:
        example = examples.build("quadratic_predictor")
        stack.register("quadratic", example.model, example.input_example)
        endpoint = stack.deploy("quadratic", wait_s=0)["endpoint_name"]
        stack.start_worker()
        stack.wait_for_status(endpoint, "active")
        body = {"model_name": "quadratic", "inputs": example.rows}
        outcome = expect(200, stack.api.post("/predict", json=body, headers={"Prefer": "wait=30"}))
        assert outcome["predictions"] == [example.model(x) for x in example.rows]

        for mark in "12":
            stack.register("echo", Echo(mark))
        stack.deploy("echo", version="1", endpoint_name="echo-prod")
        with Load(stack.url, "echo-prod") as load:
            load.wait_for(20)
            stack.deploy("echo", version="2", endpoint_name="echo-prod")
            load.wait_for(20)
        assert load.refused == []
        outcomes = stack.outcomes(accepted.job_id for accepted in load.accepted)
        assert predictions(outcomes) == [
            [outcome["version"], accepted.row] for outcome, accepted in zip(outcomes, load.accepted, strict=True)
        ]
        assert [outcomes[0]["version"], outcomes[-1]["version"]] == ["1", "2"]

        assert stack.undeploy(endpoint, "park")["status"] == "parked"
        assert not (tmp_path / "stack" / "data" / "registry.db").exists()
